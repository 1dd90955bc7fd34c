"""Files and their chunks."""

from taskflow.db.migrations.script import run_sql

revision = "0007"
down_revision = "0005"


def upgrade() -> None:
    run_sql("0007_pre_files.sql")
