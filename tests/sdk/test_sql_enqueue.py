"""`taskflow.enqueue` in SQL: for any language, in the caller's transaction, checked."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest
from typer.testing import CliRunner

from taskflow import TaskFlow
from taskflow.apps.cli import app as cli
from taskflow.db.query import Connection
from taskflow.db.server_program import bindir
from taskflow.engine.client import Engine
from taskflow.engine.job import DEFAULT_NAMESPACE, JobFilter, KindInfo, State
from taskflow.engine.store import Store

ENQUEUE = "SELECT taskflow.enqueue($1, $2::text::jsonb, $3::text::jsonb)"


@pytest.fixture
async def engine(app: Any) -> Engine:
    return (await app.database.here()).engine  # type: ignore[no-any-return]


async def enqueue(connection: Connection, kind: str, payload: Any = None, **options: Any) -> Any:
    return await connection.fetchval(ENQUEUE, kind, json.dumps(payload or {}), json.dumps(options))


async def test_a_job_has_the_engines_defaults_while_nobody_offers_its_kind(
    connection: Connection, engine: Engine
) -> None:
    job = await engine.get_job(await enqueue(connection, "resize", {"width": 640}))
    assert (job.kind, job.payload, job.queue, job.state) == ("resize", {"width": 640}, "default", State.PENDING)
    assert (job.priority, job.retries, job.timeout_s, job.namespace) == (5, 3, 30.0, DEFAULT_NAMESPACE)


async def test_a_job_has_the_defaults_of_the_kind_that_workers_published(
    connection: Connection, engine: Engine
) -> None:
    info = KindInfo("resize", "images", {}, retries=7, timeout_s=9.0, priority=8)
    await Store().publish_kinds(connection, [(info, "1")])
    job = await engine.get_job(await enqueue(connection, "resize"))
    assert (job.queue, job.retries, job.timeout_s, job.priority) == ("images", 7, 9.0, 8)


async def test_options_are_those_of_a_submit_over_http(connection: Connection, engine: Engine) -> None:
    job_id = await enqueue(
        connection,
        "resize",
        queue="slow",
        priority="high",
        retries=0,
        timeout=1500,
        delay=60_000,
        tags=["a", "ü"],
        headers={"trace": "1"},
        callbackUrl="https://example.org/done",
        namespace="00000000-0000-0000-0000-000000000007",
    )
    job = await engine.get_job(job_id)
    assert (job.queue, job.priority, job.retries, job.timeout_s, job.state) == ("slow", 8, 0, 1.5, State.SCHEDULED)
    assert (list(job.tags), job.headers, job.callback_url) == (
        ["a", "ü"],
        {"trace": "1"},
        "https://example.org/done",
    )
    assert job.namespace.int == 7
    assert job.run_at is not None
    assert (job.run_at - job.created_at).total_seconds() == 60


async def test_a_held_key_gives_the_job_that_holds_it_until_its_time_is_over(
    connection: Connection, engine: Engine
) -> None:
    first = await enqueue(connection, "resize", uniqueKey="a", uniqueScope="window", uniqueWindow=60_000)
    assert await enqueue(connection, "resize", uniqueKey="a", uniqueScope="window", uniqueWindow=60_000) == first
    assert await enqueue(connection, "resize", uniqueKey="b", ttl=5000) != first
    assert await enqueue(connection, "shrink", uniqueKey="a") != first
    await connection.execute("UPDATE taskflow.unique_claim SET held_until = now() WHERE job_id = $1", first)
    again = await enqueue(connection, "resize", uniqueKey="a", uniqueScope="until_claimed")
    assert again != first
    job = await engine.get_job(again)
    assert (job.unique_key, job.unique_scope) == ("a", "until_claimed")
    assert await connection.fetchval("SELECT holds_key FROM taskflow.ready WHERE job_id = $1", again) is True


async def test_two_at_once_with_one_key_are_one_job(connection: Connection, second: Connection, engine: Engine) -> None:
    """The second waits for the first transaction: if it rolls back, the key is the second's."""
    for commit in (True, False):
        transaction = connection.transaction()
        await transaction.start()
        first = await enqueue(connection, "resize", uniqueKey=str(commit))
        waiting = asyncio.ensure_future(enqueue(second, "resize", uniqueKey=str(commit)))
        assert not (await asyncio.wait([waiting], timeout=0.1))[0]
        await (transaction.commit() if commit else transaction.rollback())
        assert (await waiting == first) is commit


async def test_a_queue_that_drains_takes_nothing(connection: Connection) -> None:
    await connection.execute("INSERT INTO taskflow.queue (name, draining_at, changed_at) VALUES ('old', now(), now())")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="queue 'old' drains: it takes no new jobs"):
        await enqueue(connection, "resize", queue="old")
    await connection.execute("DELETE FROM taskflow.queue")


async def test_run_at_takes_an_instant_and_one_in_the_past_is_now(connection: Connection, engine: Engine) -> None:
    later = await engine.get_job(await enqueue(connection, "resize", runAt="2100-01-02T03:04:05+01:00"))
    assert later.run_at is not None
    assert later.run_at.isoformat() == "2100-01-02T02:04:05+00:00"
    past = await engine.get_job(await enqueue(connection, "resize", runAt="2001-01-01T00:00:00Z"))
    assert past.state is State.PENDING


async def test_a_rollback_leaves_nothing(connection: Connection, engine: Engine) -> None:
    with pytest.raises(RuntimeError):  # noqa: PT012
        async with connection.transaction():
            await enqueue(connection, "resize")
            await enqueue(connection, "resize", delay=1)
            raise RuntimeError
    assert (await engine.list_jobs(DEFAULT_NAMESPACE, JobFilter(), limit=5)).items == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("'a b'", "kind must be 1 to 100 characters of .* got 'a b'"),
        ("null", "kind must be 1 to 100 characters of .* got null"),
        ("'k', '[]'", "payload must be a JSON object, got array"),
        ("'k', null", "payload must be a JSON object, got null"),
        ("'k', jsonb_build_object('a', repeat('x', 262144))", "payload is 262153 bytes of JSON, the limit is 262144"),
        ("'k', '{}', '[]'", "options must be a JSON object, got array"),
        ("'k', '{}', '{\"prio\": 1}'", "there is no option 'prio'; known are callbackUrl, delay, expiresAt"),
        ("'k', '{}', '{\"queue\": 5}'", "queue must be a text, got 5"),
        ("'k', '{}', '{\"queue\": \"\"}'", "queue must be 1 to 100 characters"),
        ("'k', '{}', '{\"priority\": 10}'", "priority must be high, normal, low or a whole number from 0 to 9, got 10"),
        ("'k', '{}', '{\"priority\": \"urgent\"}'", 'priority must be high, normal, low or .* got "urgent"'),
        ("'k', '{}', '{\"retries\": 11}'", "retries must be a whole number from 0 to 10, got 11"),
        ("'k', '{}', '{\"retries\": 1.5}'", "retries must be a whole number from 0 to 10, got 1.5"),
        ("'k', '{}', '{\"timeout\": 0}'", "timeout must be a whole number from 1 to 86400000, got 0"),
        ("'k', '{}', '{\"delay\": -1}'", "delay must be a whole number from 0 to 31622400000, got -1"),
        ("'k', '{}', '{\"delay\": 1e400}'", "delay must be a whole number from 0 to"),
        ("'k', '{}', '{\"delay\": 1, \"runAt\": \"2030-01-01T00:00:00Z\"}'", "give runAt or delay, not both"),
        ("'k', '{}', '{\"runAt\": \"tomorrow\"}'", "runAt must be an ISO 8601 instant with a time zone"),
        ("'k', '{}', '{\"runAt\": \"2030-01-01T00:00:00\"}'", "runAt must be an ISO 8601 instant with a time zone"),
        ("'k', '{}', '{\"runAt\": \"2030-02-30T00:00:00Z\"}'", "runAt must be an ISO 8601 instant with a time zone"),
        ("'k', '{}', '{\"runAt\": \"9000-01-01T00:00:00Z\"}'", "before the year 9000"),
        ("'k', '{}', '{\"runAt\": 5}'", "runAt must be a text, got 5"),
        ("'k', '{}', '{\"tags\": \"a\"}'", "tags must be an array of at most 20 texts"),
        ("'k', '{}', '{\"tags\": [\"a\", 1]}'", "tags must be an array of at most 20 texts"),
        ("'k', '{}', '{\"headers\": {\"a\": 1}}'", "headers must be an object of texts"),
        ("'k', '{}', '{\"callbackUrl\": \"ftp://a\"}'", "callbackUrl must start with http:// or https://"),
        ("'k', '{}', '{\"uniqueScope\": \"window\"}'", "uniqueScope and uniqueWindow go with uniqueKey"),
        ("'k', '{}', '{\"uniqueKey\": \"\"}'", "uniqueKey must be 1 to"),
        (
            '\'k\', \'{}\', \'{"uniqueKey": "a", "uniqueScope": "ever"}\'',
            "uniqueScope must be .* got ever",
        ),
        ("'k', '{}', '{\"uniqueKey\": \"a\", \"uniqueWindow\": 5}'", "uniqueWindow goes with the uniqueScope window"),
        ("'k', '{}', '{\"ttl\": 0}'", "ttl must be a whole number from 1 to"),
        ("'k', '{}', '{\"ttl\": 5, \"expiresAt\": \"2030-01-01T00:00:00Z\"}'", "give expiresAt or ttl, not both"),
        ("'k', '{}', '{\"ttl\": 5, \"delay\": 10}'", "ttl must be after the instant at which the job is due"),
        ("'k', '{}', '{\"namespace\": \"mine\"}'", "namespace must be a UUID, got mine"),
    ],
)
def test_what_cannot_be_a_job_is_refused_by_name(database_url: str, arguments: str, message: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        with pytest.raises(psycopg.Error, match=message) as caught:
            connection.execute(f"SELECT taskflow.enqueue({arguments})".encode())
        assert caught.value.sqlstate in ("22023", "54000")
        found = connection.execute("SELECT count(*) FROM taskflow.job").fetchone()
    assert found == (0,)


# Who may --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stranger(database_url: str) -> Iterator[str]:
    """A role of another application in the same database, and its URL."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("CREATE ROLE shop LOGIN PASSWORD 'shop'")
        yield "postgresql://shop:shop@" + database_url.partition("@")[2]
        admin.execute("DROP OWNED BY shop; DROP ROLE shop")


def test_a_role_may_submit_only_when_it_was_granted_and_then_do_nothing_else(stranger: str, database_url: str) -> None:
    with psycopg.connect(stranger, autocommit=True) as shop:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            shop.execute("SELECT taskflow.enqueue('resize')")
        done = CliRunner().invoke(
            cli, ["migrate", "--grant-enqueue", "shop"], env={"TASKFLOW_DATABASE_URL": database_url}
        )
        assert (done.exit_code, done.output) == (0, "the schema is up to date\nshop may call taskflow.enqueue\n")
        assert shop.execute("SELECT taskflow.enqueue('resize')").fetchone()
        for statement in (
            "SELECT * FROM taskflow.job",
            "DELETE FROM taskflow.ready",
            "SELECT taskflow.complete_one(gen_random_uuid(), 0, null)",
            "SELECT taskflow.check_name('a', 'b')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                shop.execute(statement.encode())


def test_a_granted_role_cannot_bend_what_the_function_calls(stranger: str, database_url: str) -> None:
    """The search path is the function's own: tables and operators of the caller's are not looked at."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("GRANT USAGE ON SCHEMA taskflow TO shop")
        admin.execute("GRANT EXECUTE ON FUNCTION taskflow.enqueue(text, jsonb, jsonb) TO shop")
    with psycopg.connect(stranger, autocommit=True) as shop:
        shop.execute("CREATE TEMP TABLE job (LIKE pg_class)")
        shop.execute("SET search_path = pg_temp, public")
        assert shop.execute("SELECT taskflow.enqueue('resize')").fetchone()
        assert shop.execute("SELECT count(*) FROM job").fetchone() == (0,)


def test_a_granted_role_submits_from_python_and_hears_of_duplicates(stranger: str, database_url: str) -> None:
    app = TaskFlow(database_url)

    @app.job("resize")
    def resize() -> None: ...

    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("GRANT USAGE ON SCHEMA taskflow TO shop")
        admin.execute("GRANT EXECUTE ON FUNCTION taskflow.enqueue(text, jsonb, jsonb) TO shop")
    with psycopg.connect(stranger) as shop:
        once = resize.options(connection=shop, unique_key="a.png")
        assert [once.enqueue_sync().duplicate for _ in range(2)] == [False, True]


def test_granting_to_a_role_that_does_not_exist_says_so(database_url: str) -> None:
    done = CliRunner().invoke(
        cli, ["migrate", "--grant-enqueue", "nobody; DROP"], env={"TASKFLOW_DATABASE_URL": database_url}
    )
    assert done.exit_code == 1
    assert "there is no role 'nobody; DROP'" in str(done.exception)


# From elsewhere -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_job_is_submitted_from_psql(database_url: str) -> None:
    psql = Path(os.environ.get("TASKFLOW_TEST_POSTGRES") or bindir()) / "psql"
    done = subprocess.run(
        [psql, database_url, "-XAtq", "-v", "ON_ERROR_STOP=1"],
        input="BEGIN; SELECT taskflow.enqueue('resize', '{\"width\": 640}'); COMMIT;",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT id::text, payload FROM taskflow.job").fetchall()
    assert found == [(done.stdout.strip(), {"width": 640})]


NODE = """
const { Client } = require('pg');
(async () => {
  const client = new Client({ connectionString: process.env.URL });
  await client.connect();
  await client.query('BEGIN');
  await client.query('SELECT taskflow.enqueue($1, $2, $3)', ['lost', {}, {}]);
  await client.query('ROLLBACK');
  await client.query('BEGIN');
  const sent = await client.query(
    'SELECT taskflow.enqueue($1, $2, $3) AS id', ['resize', { width: 640 }, { priority: 'high' }]);
  await client.query('COMMIT');
  try {
    await client.query('SELECT taskflow.enqueue($1, $2, $3)', ['resize', {}, { prio: 1 }]);
  } catch (error) {
    console.log(error.code, error.message.slice(0, 26));
  }
  console.log(sent.rows[0].id);
  await client.end();
})();
"""


@pytest.mark.slow
@pytest.mark.system
def test_a_job_is_submitted_from_node(database_url: str, tmp_path: Path) -> None:
    """With the `pg` package, installed for the test; in CI, Node has to be there."""
    if shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs Node for this test")
        pytest.skip("NOT TRIED: there is no Node here")
    environ = {**os.environ, "npm_config_cache": str(tmp_path / "cache")}
    install = ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(tmp_path), "pg@8"]
    installed = subprocess.run(install, env=environ, capture_output=True, text=True, check=False, timeout=50)
    if installed.returncode and not os.environ.get("CI"):
        pytest.skip(f"NOT TRIED: npm cannot install pg: {installed.stderr[-200:]}")
    assert installed.returncode == 0, installed.stderr
    (tmp_path / "submit.js").write_text(NODE)
    done = subprocess.run(
        ["node", "submit.js"],
        cwd=tmp_path,
        env={**os.environ, "URL": database_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    refused, job_id = done.stdout.splitlines()
    assert refused == "22023 there is no option 'prio';"[: len(refused)]
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT id::text, kind, payload, priority FROM taskflow.job").fetchall()
    assert found == [(job_id, "resize", {"width": 640}, 8)]
