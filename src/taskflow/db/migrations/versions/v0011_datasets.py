"""Datasets and their rows."""

from taskflow.db.migrations.script import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_sql("0011_pre_datasets.sql")
