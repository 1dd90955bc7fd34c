"""Migrations: fresh, twice, two at once, half a crash, and a database from the future."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from tests.support.schema import saying
from tests.support.up import free_port, wait_until

from taskflow.db import migrate as module
from taskflow.db.embedded import EmbeddedPostgres
from taskflow.db.migrate import HEAD, HERE, Fit, Schema, migrate, read_schema
from taskflow.db.migrations import script
from taskflow.kernel.errors import SetupError

pytestmark = pytest.mark.slow

VERSION_TABLE = b"""
CREATE SCHEMA taskflow;
CREATE TABLE taskflow.alembic_version (version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY);
"""
STOP_BEFORE_COMMIT = (
    VERSION_TABLE
    + b"""
CREATE TABLE public.stop_at AS SELECT 'none' AS revision;
CREATE FUNCTION public.stop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version_num = (SELECT revision FROM public.stop_at) THEN
        PERFORM pg_advisory_xact_lock_shared(1);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER stop AFTER INSERT OR UPDATE ON taskflow.alembic_version FOR EACH ROW EXECUTE FUNCTION public.stop();
"""
)
STOPPED = b"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted"
COMMENT = r"^COMMENT ON TABLE taskflow\.alembic_version IS '(\d{4})';$"
RELATIONS = "SELECT relname FROM pg_class WHERE relnamespace = 'taskflow'::regnamespace ORDER BY relname"


@pytest.fixture
def empty_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database that was never migrated."""
    server, _ = postgres.url.rsplit("/", 1)
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute("CREATE DATABASE never_migrated")
        yield f"{server}/never_migrated"
        admin.execute("DROP DATABASE never_migrated WITH (FORCE)")


def chain() -> list[str]:
    """The revisions on disk, oldest first."""
    config = Config()
    config.set_main_option("script_location", str(HERE))
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


async def fit(url: str) -> Fit:
    connection = await asyncpg.connect(url)
    try:
        return (await read_schema(connection)).fit
    finally:
        await connection.close()


def relations(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [name for (name,) in connection.execute(RELATIONS).fetchall()]


def test_a_url_with_several_hosts_migrates_the_one_that_takes_writes(empty_url: str) -> None:
    user, _, rest = empty_url.partition("@")
    port = free_port()  # nobody is there
    url = f"{user}@127.0.0.1:{port},{rest}?target_session_attrs=read-write"
    assert migrate(url) == chain()
    assert migrate(url) == []


def test_the_head_that_the_code_expects_is_the_last_on_disk() -> None:
    assert chain()[-1] == HEAD


def test_every_sql_file_is_run_by_one_revision_of_its_number() -> None:
    files = sorted(path.name for path in (HERE / "sql").glob("*.sql"))
    assert [name.split("_")[0] for name in files] == chain()
    for name in files:
        _, phase, _ = name.split("_", 2)
        assert phase in ("pre", "post")
        (revision,) = (HERE / "versions").glob(f"v{name.split('_')[0]}_*.py")
        assert name in revision.read_text()


@pytest.mark.covers("S3-17")
async def test_a_fresh_database_is_brought_up_to_date(empty_url: str) -> None:
    assert await fit(empty_url) is Fit.MISSING
    assert migrate(empty_url) == chain()
    assert await fit(empty_url) is Fit.CURRENT


def test_migrating_again_finds_nothing_to_do(empty_url: str) -> None:
    migrate(empty_url)
    before = relations(empty_url)
    assert migrate(empty_url) == []
    assert relations(empty_url) == before


def test_of_two_at_once_one_migrates_and_the_other_finds_nothing_to_do(empty_url: str) -> None:
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(migrate, [empty_url, empty_url]))
    assert sorted(both) == [[], chain()]


async def test_a_revision_that_fails_leaves_nothing_of_itself(empty_url: str) -> None:
    """And the next try, with what was wrong put right, goes on from there."""
    with psycopg.connect(empty_url, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA taskflow; CREATE TABLE taskflow.worker (in_the_way integer)")
    with pytest.raises(Exception, match="already exists"):
        migrate(empty_url)
    assert await fit(empty_url) is Fit.MISSING
    assert "job" not in relations(empty_url)
    with psycopg.connect(empty_url, autocommit=True) as admin:
        admin.execute("DROP TABLE taskflow.worker")
    assert migrate(empty_url) == chain()


@pytest.mark.parametrize(
    ("revision", "works_from", "found"),
    [
        (None, None, Fit.MISSING),
        ("0000", None, Fit.OUTDATED),
        (HEAD, None, Fit.CURRENT),
        (HEAD, HEAD, Fit.CURRENT),
        ("9999", None, Fit.NEWER),
        ("9999", "0001", Fit.NEWER),
        ("9999", HEAD, Fit.NEWER),
        ("9999", "9999", Fit.TOO_NEW),
    ],
)
def test_older_code_works_on_a_newer_schema_unless_that_says_otherwise(
    revision: str | None, works_from: str | None, found: Fit
) -> None:
    schema = Schema(revision, works_from)
    assert schema.fit is found
    if found in (Fit.CURRENT, Fit.NEWER):
        schema.check()
    else:
        with pytest.raises(SetupError):
            schema.check()


async def test_a_newer_schema_is_left_alone(empty_url: str) -> None:
    migrate(empty_url)
    with psycopg.connect(empty_url, autocommit=True) as admin:
        before = relations(empty_url)
        admin.execute(saying("9999", HEAD).encode())
        assert migrate(empty_url) == [], "an older container that starts again migrates as well"
        admin.execute(saying("9999", "9999").encode())
        with pytest.raises(SetupError, match=f"revision 9999, this TaskFlow knows {HEAD} at most: use .* newer"):
            migrate(empty_url)
    assert relations(empty_url) == before
    assert await fit(empty_url) is Fit.TOO_NEW


def test_a_migration_that_takes_something_away_says_whose_code_works_without_it() -> None:
    for path in (HERE / "sql").glob("*_post_*.sql"):
        (works_from,) = re.findall(COMMENT, path.read_text(), re.MULTILINE)
        assert works_from in chain(), path.name
        assert works_from < path.name[:4], f"{path.name}: code of the release before it has to work on"


def test_a_migration_that_dies_anywhere_leaves_whole_revisions_and_the_next_goes_on(empty_url: str) -> None:
    """Each revision in turn is cut off between its last statement and its commit."""
    with psycopg.connect(empty_url, autocommit=True) as admin:
        admin.execute(STOP_BEFORE_COMMIT)
        for number, revision in enumerate(chain()):
            admin.execute("SELECT pg_advisory_lock(1)")
            admin.execute("UPDATE public.stop_at SET revision = %s", [revision])
            with ThreadPoolExecutor(1) as threads:
                migrating = threads.submit(migrate, empty_url)
                wait_until(lambda: admin.execute(STOPPED).rowcount == 1)
                admin.execute(f"SELECT pg_terminate_backend(pid) FROM ({STOPPED.decode()}) AS stopped")
                with pytest.raises(Exception, match="terminating connection"):
                    migrating.result()
            admin.execute("SELECT pg_advisory_unlock(1)")
            reached = admin.execute("SELECT version_num FROM taskflow.alembic_version").fetchall()
            assert reached == ([(chain()[number - 1],)] if number else [])
        admin.execute("UPDATE public.stop_at SET revision = 'none'")
        assert migrate(empty_url) == chain()[-1:], "nothing of it was in the way"


def test_a_table_that_is_in_use_too_long_is_one_line_and_leaves_whole_revisions(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "LOCK_WAIT_S", 0.1)
    with psycopg.connect(empty_url, autocommit=True) as admin, psycopg.connect(empty_url) as user:
        admin.execute(VERSION_TABLE)
        user.execute("LOCK TABLE taskflow.alembic_version IN SHARE MODE")
        with pytest.raises(SetupError, match=r"after revision none changes was in use .* run it again"):
            migrate(empty_url)
        assert relations(empty_url) == ["alembic_version", "alembic_version_pkc"]
        user.rollback()
        assert migrate(empty_url) == chain()


def test_a_server_that_is_not_there_is_one_line() -> None:
    with pytest.raises(SetupError, match=r"cannot be reached: .*refused"):
        migrate(f"postgresql://127.0.0.1:{free_port()}/nothing")


def test_a_server_that_is_too_old_is_refused_before_anything_is_made(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_SERVER_MAJOR", 99)
    with pytest.raises(SetupError, match="needs PostgreSQL 99 or newer, this server is 1"):
        migrate(empty_url)
    with psycopg.connect(empty_url) as connection:
        assert connection.execute("SELECT to_regnamespace('taskflow')").fetchone() == (None,)


def test_a_url_that_is_not_postgresql_is_refused() -> None:
    with pytest.raises(SetupError, match="must start with postgresql://"):
        migrate("sqlite:///jobs.db")
