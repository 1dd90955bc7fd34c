"""Streams of submits that can go on."""

from taskflow.db.migrations.script import run_sql

revision = "0009"
down_revision = "0007"


def upgrade() -> None:
    run_sql("0009_pre_stream.sql")
