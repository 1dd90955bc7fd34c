"""Settings of queues, unique keys, bulk operations."""

from taskflow.db.migrations.script import run_sql

revision = "0006"
down_revision = "0004"


def upgrade() -> None:
    run_sql("0006_pre_queues.sql")
