"""Progress of jobs, and the functions that applications call in transactions of their own."""

from taskflow.db.migrations.script import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("0003_pre_sdk.sql")
