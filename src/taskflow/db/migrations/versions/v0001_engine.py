"""The engine's tables."""

from taskflow.db.migrations.script import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql("0001_pre_engine.sql")
