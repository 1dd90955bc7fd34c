"""The time that an attempt ran which completes in a transaction of its own."""

from taskflow.db.migrations.script import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql("0015_pre_run_time.sql")
