"""Migrations: fresh, twice, two at once, half a crash, and a database from the future."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from tests.support.up import free_port

from taskflow.db import migrate as module
from taskflow.db.embedded import EmbeddedPostgres
from taskflow.db.migrate import HEAD, HERE, is_current, migrate
from taskflow.kernel.errors import SetupError

pytestmark = pytest.mark.slow

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


async def current(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return await is_current(connection)
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
    assert not await current(empty_url)
    assert migrate(empty_url) == chain()
    assert await current(empty_url)


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
    assert not await current(empty_url)
    assert "job" not in relations(empty_url)
    with psycopg.connect(empty_url, autocommit=True) as admin:
        admin.execute("DROP TABLE taskflow.worker")
    assert migrate(empty_url) == chain()


async def test_a_schema_from_a_newer_release_is_left_alone(empty_url: str) -> None:
    migrate(empty_url)
    with psycopg.connect(empty_url, autocommit=True) as admin:
        admin.execute("UPDATE taskflow.alembic_version SET version_num = '9999'")
    before = relations(empty_url)
    with pytest.raises(SetupError, match=r"'9999'.*newer"):
        migrate(empty_url)
    assert relations(empty_url) == before
    assert not await current(empty_url)


def test_a_server_that_is_too_old_is_refused_before_anything_is_made(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_SERVER_MAJOR", 99)
    with pytest.raises(SetupError, match="needs PostgreSQL 15"):
        migrate(empty_url)
    with psycopg.connect(empty_url) as connection:
        assert connection.execute("SELECT to_regnamespace('taskflow')").fetchone() == (None,)


def test_a_url_that_is_not_postgresql_is_refused() -> None:
    with pytest.raises(SetupError, match="must start with postgresql://"):
        migrate("sqlite:///jobs.db")
