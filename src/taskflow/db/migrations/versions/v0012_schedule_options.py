"""More options of the jobs of schedules."""

from taskflow.db.migrations.script import run_sql

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_sql("0012_pre_schedule_options.sql")
