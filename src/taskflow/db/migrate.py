"""
Migrations: Alembic keeps the chain and the version; every revision runs one plain SQL file.

`NNNN_pre_*.sql` only adds: all older code works on as before. `NNNN_post_*.sql` takes away what some older code needs;
the comment of the version's table then says from which revision on code works on the schema.

    schema                                older    HEAD    newer    newer, and works from a revision after HEAD
    code whose last migration is HEAD     no       yes     yes      no
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from taskflow.db.query import Connection
from taskflow.kernel.errors import SetupError

HERE = Path(__file__).parent / "migrations"
HEAD = "0017"  # a test compares this with the chain on disk
MIN_SERVER_MAJOR = 15
LOCK_WAIT_S = 5  # for a table; writers queue up behind a migration that waits
LOCK_KEY = 7_236_410_001  # session advisory lock: one migrator at a time

_SCHEMA = """
SELECT version_num AS revision, obj_description('taskflow.alembic_version'::regclass, 'pg_class') AS works_from
FROM taskflow.alembic_version
"""


class Fit(StrEnum):
    """What a schema is to this code. It works on the schema if that is CURRENT or NEWER."""

    MISSING = "missing"
    OUTDATED = "outdated"
    CURRENT = "current"
    NEWER = "newer"
    TOO_NEW = "too_new"


@dataclass(frozen=True, slots=True)
class Schema:
    """
    The schema of a database.

    Args:
        revision: of the last migration; None if there never was one.
        works_from: the oldest revision whose code works on it; None if the code of every older one does.
    """

    revision: str | None
    works_from: str | None = None

    @property
    def fit(self) -> Fit:
        if self.revision is None:
            return Fit.MISSING
        if self.revision <= HEAD:
            return Fit.CURRENT if self.revision == HEAD else Fit.OUTDATED
        return Fit.NEWER if (self.works_from or HEAD) <= HEAD else Fit.TOO_NEW

    @property
    def fits(self) -> bool:
        """Whether this code works on it."""
        return self.fit in (Fit.CURRENT, Fit.NEWER)

    def check(self) -> None:
        """Raise SetupError, saying what to do, unless this code works on it."""
        match self.fit:
            case Fit.MISSING:
                raise SetupError("the database has no TaskFlow schema: run `taskflow migrate`")
            case Fit.OUTDATED:
                raise SetupError(
                    f"the database's schema is at revision {self.revision}, this TaskFlow needs {HEAD}: "
                    "run `taskflow migrate`"
                )
            case Fit.TOO_NEW:
                raise SetupError(
                    f"the database's schema is at revision {self.revision}, this TaskFlow knows {HEAD} at most: "
                    "use the version that migrated it, or a newer one"
                )


async def read_schema(connection: Connection) -> Schema:
    """Return what the database says of its schema, without loading Alembic."""
    if await connection.fetchval("SELECT to_regclass('taskflow.alembic_version')") is None:
        return Schema(None)
    row = await connection.fetchrow(_SCHEMA)
    return Schema(row["revision"], row["works_from"]) if row is not None else Schema(None)


def migrate(url: str) -> list[str]:
    """
    Bring the database at *url* up to date and return the revisions applied, oldest first.

    Two migrators at once are safe: the second waits for the first and finds nothing to do. Each revision is one
    transaction, so a crash leaves whole revisions only. A newer schema on which this code works is left as it is.

    Raises:
        SetupError: the server cannot be reached or is too old, a table is in use for too long, or the schema is too
            new.
    """
    # Imported here: a process that never migrates need not load SQLAlchemy and Alembic (30 MB, 0.3 s).
    import psycopg
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from sqlalchemy import create_engine, pool, text
    from sqlalchemy.exc import OperationalError

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
    try:
        connecting = engine.connect()
    except OperationalError as error:
        raise SetupError(f"the database cannot be reached: {_first_line(error.orig)}") from error
    with connecting as connection:
        version = connection.dialect.server_version_info or (0,)
        if int(version[0]) < MIN_SERVER_MAJOR:
            raise SetupError(f"TaskFlow needs PostgreSQL {MIN_SERVER_MAJOR} or newer, this server is {version[0]}")
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
        try:
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS taskflow"))
            context = MigrationContext.configure(connection, opts={"version_table_schema": "taskflow"})
            before = context.get_current_revision()
            known = [revision.revision for revision in script.walk_revisions()][::-1]
            if before is not None and before not in known:
                found = connection.execute(text(_SCHEMA)).one()
                Schema(found.revision, found.works_from).check()
                return []
            config.attributes["engine"] = engine
            try:
                command.upgrade(config, "head")
            except (psycopg.errors.LockNotAvailable, OperationalError) as error:
                cause = error.orig if isinstance(error, OperationalError) else error
                if not isinstance(cause, psycopg.errors.LockNotAvailable):
                    raise
                reached = context.get_current_revision() or "none"
                raise SetupError(
                    f"a table that the migration after revision {reached} changes was in use for {LOCK_WAIT_S} s: "
                    "nothing of that one is left, run it again when long transactions are over"
                ) from error
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


def _check_scheme(url: str) -> None:
    scheme = urlsplit(url).scheme
    if scheme not in {"postgresql", "postgres"}:
        raise SetupError(f"the database URL must start with postgresql://, got {scheme!r}")


def _first_line(error: BaseException | None) -> str:
    return str(error).strip().partition("\n")[0]
