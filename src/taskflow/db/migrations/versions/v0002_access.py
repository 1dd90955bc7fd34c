"""API keys and idempotency keys."""

from taskflow.db.migrations.script import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("0002_pre_access.sql")
