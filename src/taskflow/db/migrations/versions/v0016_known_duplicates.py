"""Whether a submit in a transaction of its own stored its job."""

from taskflow.db.migrations.script import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql("0016_pre_known_duplicates.sql")
