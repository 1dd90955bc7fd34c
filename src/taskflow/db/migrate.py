"""
Migrations: Alembic keeps the chain and the version; every revision runs one plain SQL file.

`NNNN_pre_*.sql` is safe while old code still runs, `NNNN_post_*.sql` runs once no old code is left.
"""

from pathlib import Path
from urllib.parse import urlsplit

from taskflow.db.query import Connection
from taskflow.kernel.errors import SetupError

HERE = Path(__file__).parent / "migrations"
HEAD = "0014"  # a test compares this with the chain on disk
MIN_SERVER_MAJOR = 15
LOCK_KEY = 7_236_410_001  # session advisory lock: one migrator at a time


def migrate(url: str) -> list[str]:
    """
    Bring the database at *url* up to date and return the revisions applied, oldest first.

    Two migrators at once are safe: the second waits for the first and finds nothing to do. Each revision is one
    transaction, so a crash leaves whole revisions only.

    Raises:
        SetupError: the server is older than PostgreSQL 15, or the schema is from a newer TaskFlow.
    """
    # Imported here: a process that never migrates need not load SQLAlchemy and Alembic (30 MB, 0.3 s).
    import psycopg
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine, pool, text

    _check_scheme(url)
    config = Config()
    config.set_main_option("script_location", str(HERE))
    script = ScriptDirectory.from_config(config)
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(url),  # SQLAlchemy's own URLs know one host only
        poolclass=pool.NullPool,
        isolation_level="AUTOCOMMIT",
    )
    with engine.connect() as connection:
        version = connection.dialect.server_version_info or (0,)
        if int(version[0]) < MIN_SERVER_MAJOR:
            raise SetupError(f"TaskFlow needs PostgreSQL 15 or newer, this server is {version[0]}")
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
        try:
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS taskflow"))
            context = MigrationContext.configure(connection, opts={"version_table_schema": "taskflow"})
            before = context.get_current_revision()
            known = [revision.revision for revision in script.walk_revisions()][::-1]
            if before is not None and before not in known:
                raise SetupError(
                    f"the database's schema is at revision {before!r}, which this TaskFlow does not know: "
                    "it was migrated by a newer one; run that version or a newer one"
                )
            config.attributes["engine"] = engine
            command.upgrade(config, "head")
            return known[known.index(before) + 1 if before else 0 :]
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK_KEY})


def grant_enqueue(url: str, role: str) -> None:
    """Let *role* call `taskflow.enqueue`, which needs no other rights. Raises SetupError if there is no such role."""
    import psycopg
    from psycopg.sql import SQL, Identifier

    with psycopg.connect(url) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
            raise SetupError(f"there is no role {role!r} in this PostgreSQL: make it first (CREATE ROLE)")
        for statement in (
            "GRANT USAGE ON SCHEMA taskflow TO {}",
            "GRANT EXECUTE ON FUNCTION taskflow.enqueue(text, jsonb, jsonb) TO {}",
        ):
            connection.execute(SQL(statement).format(Identifier(role)))


async def is_current(connection: Connection) -> bool:
    """Say whether the schema is the one this code was written for, without loading Alembic."""
    if await connection.fetchval("SELECT to_regclass('taskflow.alembic_version')") is None:
        return False
    return bool(await connection.fetchval("SELECT version_num = $1 FROM taskflow.alembic_version", HEAD))


def _check_scheme(url: str) -> None:
    scheme = urlsplit(url).scheme
    if scheme not in {"postgresql", "postgres"}:
        raise SetupError(f"the database URL must start with postgresql://, got {scheme!r}")
