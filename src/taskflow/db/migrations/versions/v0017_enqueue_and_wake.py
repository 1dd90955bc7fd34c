"""A submit that wakes workers in the same round trip."""

from taskflow.db.migrations.script import run_sql

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_sql("0017_pre_enqueue_and_wake.sql")
