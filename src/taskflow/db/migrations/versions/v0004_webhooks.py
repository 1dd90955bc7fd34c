"""Deliveries of callbacks."""

from taskflow.db.migrations.script import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql("0004_pre_webhooks.sql")
