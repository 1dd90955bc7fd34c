"""An index of deferred jobs that serves nothing but their time."""

from taskflow.db.migrations.script import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_sql("0014_pre_deferred_due.sql")
