"""How a revision runs its SQL file."""

from pathlib import Path

from alembic import op

from taskflow.db.migrate import LOCK_WAIT_S

SQL = Path(__file__).parent / "sql"


def run_sql(name: str) -> None:
    """
    Run one file of statements in the revision's transaction.

    Straight on the driver's connection: many statements in one go, and no placeholder or `%` is looked for.
    A table that somebody holds is not waited for behind a growing queue of writers: the migration fails and is retried.
    """
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise RuntimeError("the migration lost its connection")
    driver.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT_S}s'")
    driver.execute((SQL / name).read_bytes())
