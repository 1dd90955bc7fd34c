"""What is asked of the schema before a process starts."""

import subprocess
import sys

import asyncpg
import psycopg
import pytest
from tests.support.schema import saying, set_schema
from tests.support.up import SOURCE, free_port

from taskflow.apps.fitness import check_schema
from taskflow.db.migrate import HEAD
from taskflow.db.query import Connection
from taskflow.kernel.errors import SetupError


async def test_a_schema_that_fits_is_no_reason_to_say_anything(database_url: str, connection: Connection) -> None:
    await check_schema(database_url)
    await set_schema(connection, "9999", HEAD)
    await check_schema(database_url)


@pytest.mark.parametrize(
    ("revision", "words"), [("0000", "run `taskflow migrate`"), ("9999", "use the version that migrated it")]
)
async def test_a_schema_that_does_not_fit_is_refused(
    database_url: str, connection: Connection, revision: str, words: str
) -> None:
    await set_schema(connection, revision, revision)
    with pytest.raises(SetupError, match=f"at revision {revision}, .*: {words}"):
        await check_schema(database_url)


async def test_a_database_that_is_away_or_refuses_is_left_to_those_who_wait_for_it(database_url: str) -> None:
    await check_schema(f"postgresql://127.0.0.1:{free_port()}/nothing")
    server, _ = database_url.rsplit("/", 1)
    await check_schema(f"{server}/nothing")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(f"{server}/nothing")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["worker", "api"])
def test_a_process_refuses_to_start_in_one_line(database_url: str, command: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(saying("0000", None).encode())
    done = subprocess.run(
        [sys.executable, "-m", "taskflow", command],
        env={"PYTHONPATH": str(SOURCE), "TASKFLOW_DATABASE_URL": database_url, "TASKFLOW_SECRET_KEY": "k" * 40},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    line = f"taskflow: the database's schema is at revision 0000, this TaskFlow needs {HEAD}: run `taskflow migrate`\n"
    assert (done.returncode, done.stderr) == (1, line)
