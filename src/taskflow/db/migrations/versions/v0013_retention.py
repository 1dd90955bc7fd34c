"""What is dropped of jobs that ended long ago."""

from taskflow.db.migrations.script import run_sql

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_sql("0013_pre_retention.sql")
