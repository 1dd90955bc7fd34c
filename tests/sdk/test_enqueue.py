"""Submitting from Python: without an event loop and with one."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import psycopg
import pytest
from tests.sdk.greetings import Greet, hearing, jobs_in
from tests.support.reference import SOURCE
from tests.support.tracing import (
    TRACEPARENT,
    Spans,
    attributes_of,
    parent_id_of,
    span_id_of,
    spans,
    trace_id_of,
)

from taskflow import Invalid, NewJob, NotFound, SetupError, State, TaskFlow, Unavailable
from taskflow.apps.sdk import threads
from taskflow.db.query import Connection
from taskflow.telemetry import tracing
from taskflow.telemetry.spans import Spans as SpanMaker

__all__ = ["spans"]


LAST_STATEMENTS = """
    SELECT query FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'taskflow-app'
"""


async def test_a_submitted_job_is_stored_with_its_arguments_and_the_jobs_defaults(greet: Greet) -> None:
    handle = await greet.enqueue("Ada", 2)
    job = await handle.job()
    assert (job.kind, job.queue, job.payload) == ("greet", "greetings", {"name": "Ada", "times": 2})
    assert (job.retries, job.timeout_s, job.priority, job.state) == (1, 5.0, 5, State.PENDING)


async def test_an_argument_with_a_default_may_be_left_out(greet: Greet) -> None:
    assert (await (await greet.enqueue(name="Ada")).job()).payload == {"name": "Ada"}  # type: ignore[call-arg]


async def test_calling_a_job_function_runs_it_here_and_submits_nothing(greet: Greet, database_url: str) -> None:
    assert await greet("Ada", times=2) == "Hello, Ada! Hello, Ada! "
    assert jobs_in(database_url) == 0


async def test_options_change_what_one_submit_says(greet: Greet) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    chosen = greet.options(
        queue="slow", priority="high", retries=7, timeout_s=60, run_at=at, tags=["a", "b"], headers={"trace": "1"}
    )
    job = await (await chosen.enqueue("Ada", 1)).job()
    assert (job.queue, job.priority, job.retries, job.timeout_s) == ("slow", 8, 7, 60.0)
    assert (job.state, job.run_at, list(job.tags), job.headers) == (State.SCHEDULED, at, ["a", "b"], {"trace": "1"})


async def test_a_delay_defers_a_job(greet: Greet) -> None:
    job = await (await greet.options(delay_s=60).enqueue("Ada", 1)).job()
    assert job.state is State.SCHEDULED
    assert job.run_at is not None
    assert timedelta(seconds=59) < job.run_at - job.created_at <= timedelta(seconds=60)


async def test_every_wrong_argument_is_named_and_nothing_is_stored(greet: Greet, database_url: str) -> None:
    with pytest.raises(Invalid) as caught:
        await greet.enqueue(times="twice", colour="red")  # type: ignore[call-arg]
    found = {error.pointer: (error.code, error.detail) for error in caught.value.errors}
    assert found["/times"] == ("wrong_type", "expected `int`, got `str`")
    assert found["/name"] == ("required", "is required")
    assert found["/colour"][0] == "unknown_field"
    assert "times expected `int`, got `str`" in str(caught.value)
    assert jobs_in(database_url) == 0


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"priority": 10}, "/priority"),
        ({"priority": "urgent"}, "/priority"),
        ({"retries": 11}, "/retries"),
        ({"timeout_s": 0}, "/timeout"),
        ({"delay_s": -1}, "/delay"),
        ({"delay_s": float("inf")}, "/delay"),
        ({"queue": "a b"}, "/queue"),
        ({"run_at": datetime(2026, 1, 1)}, "/runAt"),  # noqa: DTZ001
        ({"run_at": datetime(2030, 1, 1, tzinfo=UTC), "expires_in_s": 60.0}, "/ttl"),
        ({"delay_s": 1.0, "expires_at": datetime(2030, 1, 1, tzinfo=UTC)}, "/expiresAt"),
        ({"tags": [""]}, "/tags/0"),
    ],
)
async def test_a_wrong_option_is_named(greet: Greet, options: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        await greet.options(**options).enqueue("Ada", 1)
    assert [error.pointer for error in caught.value.errors] == [pointer]
    assert caught.value.errors[0].detail in str(caught.value)  # what a traceback ends with


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("timeout_s", "x", "a number of seconds"),
        ("retries", "3", "a whole number"),
        ("retries", True, "a whole number"),
        ("delay_s", "x", "a number of seconds"),
        ("run_at", "tomorrow", "a datetime"),
        ("headers", 5, "a mapping of texts"),
        ("tags", "abc", "a list of texts"),
        ("queue", 7, "a text"),
    ],
)
def test_an_option_of_the_wrong_type_is_named(greet: Greet, name: str, value: Any, words: str) -> None:
    with pytest.raises(Invalid, match=f"^{name} must be {words}, got {value!r}$"):
        greet.options(**{name: value})


@pytest.mark.parametrize("how", ["alone", "in a transaction", "sync", "sync in a transaction"])
async def test_of_jobs_with_one_unique_key_only_one_is_stored(
    app: TaskFlow, greet: Greet, database_url: str, how: str
) -> None:
    chosen = {"unique_key": "ada", "unique_for_s": 60.0, "expires_in_s": 3600.0}
    if how == "alone":
        handles = [await greet.options(**chosen).enqueue("Ada", n) for n in range(3)]  # type: ignore[arg-type]
    elif how == "sync":
        alone = greet.options(**chosen)  # type: ignore[arg-type]
        handles = [await asyncio.to_thread(alone.enqueue_sync, "Ada", n) for n in range(3)]
    elif how == "in a transaction":
        async with app.transaction() as tx:
            handles = [await greet.options(**chosen, connection=tx).enqueue("Ada", n) for n in range(3)]  # type: ignore[arg-type]
    else:
        with app.transaction_sync() as tx:
            handles = [greet.options(**chosen, connection=tx).enqueue_sync("Ada", n) for n in range(3)]  # type: ignore[arg-type]
    assert len({handle.job_id for handle in handles}) == 1 == jobs_in(database_url)
    assert [handle.duplicate for handle in handles] == [False, True, True]
    job = await handles[0].job()
    assert (job.unique_key, job.payload["times"]) == ("ada", 0)
    assert job.expires_at is not None
    assert job.expires_at - job.created_at == timedelta(hours=1)


async def test_among_many_in_one_transaction_each_says_whether_it_is_a_duplicate(
    greet: Greet, connection: Connection, database_url: str
) -> None:
    ada, bob, nobody = (greet.options(connection=connection, unique_key=key) for key in ("ada", "bob", None))
    async with connection.transaction():
        handles = await ada.enqueue_many([{"name": "Ada"}] * 3)
        handles += [await nobody.enqueue("Ada", 1), await bob.enqueue("Bob", 1), await ada.enqueue("Ada", 1)]
    assert [handle.duplicate for handle in handles] == [False, True, True, False, False, True]
    assert jobs_in(database_url) == 3


async def test_many_calls_are_stored_in_order(greet: Greet) -> None:
    handles = await greet.enqueue_many([{"name": str(number)} for number in range(5)])
    assert [handle.duplicate for handle in handles] == [False] * 5
    assert [(await handle.job()).payload["name"] for handle in handles] == list("01234")
    assert sorted(handle.job_id for handle in handles) == [handle.job_id for handle in handles]


@pytest.mark.slow
async def test_more_calls_than_one_statement_takes_are_one_transaction(greet: Greet, database_url: str) -> None:
    assert len(await greet.enqueue_many([{"name": "Ada"}] * 1500)) == 1500
    assert len(await asyncio.to_thread(greet.enqueue_many_sync, [{"name": "Ada"}] * 1500)) == 1500
    assert jobs_in(database_url) == 3000


async def test_of_many_calls_the_wrong_ones_are_named_by_index_and_none_is_stored(
    greet: Greet, database_url: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await greet.enqueue_many([{"name": "Ada"}, {"name": 1}, {}])
    assert [error.pointer for error in caught.value.errors] == ["/1/name", "/2/name"]
    assert jobs_in(database_url) == 0


# Without an event loop ------------------------------------------------------------------------------------------------


def test_a_job_is_submitted_and_looked_at_without_an_event_loop(greet: Greet, database_url: str) -> None:
    with hearing(database_url) as woken:
        handle = greet.options(delay_s=60).enqueue_sync("Ada", 3)
        assert handle.job_sync().payload == {"name": "Ada", "times": 3}
        assert handle.status_sync() is State.SCHEDULED
        assert handle.cancel_sync().state is State.CANCELLED
        assert handle.status_sync() is State.CANCELLED
    assert woken == ["greetings"]


def test_a_job_that_does_not_exist_is_not_found(app: TaskFlow, greet: Greet) -> None:
    with pytest.raises(NotFound):
        greet.handle("01234567-89ab-7def-8123-456789abcdef").status_sync()
    with pytest.raises(NotFound):
        app.handle(UUID(int=5)).status_sync()


async def test_what_would_block_an_event_loop_says_what_to_do_instead(greet: Greet, database_url: str) -> None:
    handle = await greet.enqueue("Ada", 1)
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: greet.enqueue_sync("Ada", 1), r"enqueue\(\)"),
        (lambda: greet.enqueue_many_sync([{"name": "Ada"}]), r"enqueue\(\)"),
        (handle.result_sync, r"result\(\)"),
        (handle.job_sync, r"job\(\)"),
        (handle.status_sync, r"status\(\)"),
        (handle.cancel_sync, r"cancel\(\)"),
    ]
    for call, instead in calls:
        with pytest.raises(RuntimeError, match=f"await .*{instead}.*in a thread"):
            call()
    assert jobs_in(database_url) == 1
    assert await asyncio.to_thread(handle.status_sync) is State.PENDING


def test_a_statement_that_waits_for_ever_ends(
    greet: Greet, app: TaskFlow, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.database.threads.connection() as ours:
        assert ours.execute("SHOW statement_timeout").fetchone() == ("30s",)
        told = ours.info.get_parameters()
        assert (told["tcp_user_timeout"], told["keepalives_idle"]) == ("30000", "15")
    app.close_sync()
    monkeypatch.setattr(threads, "STATEMENT_TIMEOUT_S", 0.2)
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE taskflow.job")
        with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s; a submit may have happened"):
            greet.enqueue_sync("Ada", 1)
    assert greet.enqueue_sync("Ada", 1).status_sync() is State.PENDING
    with app.transaction_sync() as theirs:
        assert theirs.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_threads_submit_side_by_side(greet: Greet, database_url: str) -> None:
    with ThreadPoolExecutor(20) as pool:
        handles = list(pool.map(lambda number: greet.enqueue_sync(str(number), 1), range(200)))
    assert len({handle.job_id for handle in handles}) == 200 == jobs_in(database_url)


def test_a_connection_that_was_cut_is_replaced(app: TaskFlow, greet: Greet, database_url: str) -> None:
    greet.enqueue_sync("Ada", 1)
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'taskflow-app'")
    with suppress(Unavailable):  # it was alive a moment ago: the caller is told that the submit may have happened
        greet.enqueue_sync("Ada", 1)
    assert greet.enqueue_sync("Ada", 1).status_sync() is State.PENDING


@pytest.mark.slow
def test_a_child_that_was_forked_uses_connections_of_its_own(greet: Greet, database_url: str) -> None:
    """As under gunicorn with a preloaded app: parent and child must not speak on one socket."""
    greet.enqueue_sync("parent", 1)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if greet.enqueue_sync("child", 1).status_sync() is State.PENDING else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert greet.enqueue_sync("parent", 1).status_sync() is State.PENDING
    assert jobs_in(database_url) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [({}, "enqueue_and_wake"), ({"queue": "other"}, "enqueue_and_wake"), ({"unique_key": "k"}, "pg_notify")],
    ids=["plain", "elsewhere", "unique"],
)
def test_a_submit_without_an_event_loop_wakes_workers_once(
    greet: Greet, database_url: str, options: Any, words: str
) -> None:
    """A plain job by the statement that submits it; *words* are in the last statement of the caller's session."""
    with hearing(database_url) as woken:
        handle = greet.options(**options).enqueue_sync("Ada", 1)
        with psycopg.connect(database_url) as connection:
            [last] = connection.execute(LAST_STATEMENTS).fetchall()
    assert woken == [options.get("queue", "greetings")]
    assert handle.status_sync() is State.PENDING
    assert jobs_in(database_url) == 1
    assert words in last[0]


# Hooks, and where the database is -------------------------------------------------------------------------------------


async def test_hooks_around_a_submit_may_change_and_refuse_it(app: TaskFlow, greet: Greet, database_url: str) -> None:
    heard: list[Any] = []

    @app.before_enqueue
    def trace(job: NewJob) -> NewJob:
        if job.payload["name"] == "nobody":
            raise PermissionError
        return NewJob(job.kind, job.payload, queue=job.queue, headers={"trace": "42"})

    @app.after_enqueue
    def hear(job: NewJob, job_id: UUID) -> None:
        heard.append((job.headers["trace"], job_id))

    first = await greet.enqueue("Ada", 1)
    second = await asyncio.to_thread(greet.enqueue_sync, "Ada", 1)
    with pytest.raises(PermissionError):
        await greet.enqueue("nobody", 1)
    assert heard == [("42", first.job_id), ("42", second.job_id)]
    assert (await first.job()).headers == {"trace": "42"}
    assert jobs_in(database_url) == 2


async def test_a_hook_that_raises_after_a_submit_does_not_make_it_look_failed(
    app: TaskFlow, greet: Greet, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who is told that a submit failed submits again. In a transaction of the caller's it can be taken back."""

    @app.after_enqueue
    def complain(_job: NewJob, _job_id: UUID) -> None:
        raise ConnectionError("the audit log is away")

    stored = await greet.enqueue("Ada", 1)
    await asyncio.to_thread(greet.enqueue_sync, "Ada", 1)
    connection = await asyncpg.connect(database_url)
    try:
        await greet.options(connection=connection).enqueue("at once", 1)
        with pytest.raises(ConnectionError):
            async with connection.transaction():
                await greet.options(connection=connection).enqueue("lost", 1)
    finally:
        await connection.close()
    with psycopg.connect(database_url, autocommit=True) as plain:
        greet.options(connection=plain).enqueue_sync("at once", 1)
        with pytest.raises(ConnectionError), plain.transaction():
            greet.options(connection=plain).enqueue_sync("lost", 1)
    assert await stored.status() is State.PENDING
    assert jobs_in(database_url) == 4
    assert capsys.readouterr().err.count("taskflow.hook.exception") == 4


def test_a_hook_of_a_submit_must_not_need_an_event_loop(app: TaskFlow) -> None:
    async def hook(_job: NewJob) -> None: ...

    with pytest.raises(TypeError, match="'hook' must be a plain function"):
        app.before_enqueue(hook)


async def test_an_app_connects_at_its_first_use_and_then_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TASKFLOW_DATABASE_URL", raising=False)
    app = TaskFlow(data_dir=tmp_path)

    @app.job()
    async def noop() -> None: ...

    for submit in (noop.enqueue(), asyncio.to_thread(noop.enqueue_sync)):
        with pytest.raises(SetupError, match=r"start `taskflow up`.*or set TASKFLOW_DATABASE_URL"):
            await submit


async def test_the_environment_names_the_database_of_an_app_that_names_none(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKFLOW_DATABASE_URL", database_url)
    async with TaskFlow() as app:

        @app.job()
        async def noop() -> None: ...

        assert await (await noop.enqueue()).status() is State.PENDING


SCRIPT = """
import asyncio
from taskflow import TaskFlow

app = TaskFlow()

@app.job()
async def noop() -> None: ...

async def main():
    await noop.enqueue()

asyncio.run(main())
asyncio.run(main())  # another loop
noop.enqueue_sync()
"""


@pytest.mark.slow
def test_a_script_that_closes_nothing_leaves_no_warning_behind(database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env={"PYTHONPATH": str(SOURCE.parent), "TASKFLOW_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert jobs_in(database_url) == 3


def test_importing_the_package_loads_none_of_the_sdk() -> None:
    code = "import sys, taskflow; print(*sorted(name for name in sys.modules if name.startswith('taskflow')))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(SOURCE.parent)}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["taskflow"]


# Traces --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["async", "sync", "transaction"])
async def test_a_submit_inside_a_span_of_the_program_continues_its_trace(
    app: TaskFlow, greet: Greet, database_url: str, spans: Spans, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The program has set up OpenTelemetry, we have not: its provider makes our span."""
    tracing.switch_off()
    monkeypatch.setattr(tracing._Switch, "guest", SpanMaker(spans.provider))
    with spans.provider.get_tracer("shop").start_as_current_span("buy"):
        if way == "async":
            handle = await greet.enqueue("Ada", 1)
        elif way == "sync":
            handle = await asyncio.to_thread(greet.enqueue_sync, "Ada", 1)
        else:
            async with app.transaction() as connection:
                handle = await greet.options(connection=connection, headers={"tenant": "7"}).enqueue("Ada", 1)
    send, buy = spans.ended
    assert (send.name, trace_id_of(send), parent_id_of(send)) == ("send greetings", trace_id_of(buy), span_id_of(buy))
    assert attributes_of(send)["messaging.message.id"] == str(handle.job_id)
    with psycopg.connect(database_url) as own:
        row = own.execute("SELECT headers FROM taskflow.job").fetchone()
    assert row is not None
    parent = f"00-{trace_id_of(send)}-{span_id_of(send)}-03"
    given = {"tenant": "7"} if way == "transaction" else {}
    assert row[0] == {**given, "taskflow.traceparent": parent}
    assert dict((await handle.job()).headers) == given


async def test_a_context_that_a_submit_names_is_left_as_it_is(greet: Greet, database_url: str, spans: Spans) -> None:
    await greet.options(headers={"traceparent": TRACEPARENT}).enqueue("Ada", 1)
    with psycopg.connect(database_url) as own:
        assert own.execute("SELECT headers FROM taskflow.job").fetchone() == ({"traceparent": TRACEPARENT},)


def test_who_never_loads_opentelemetry_does_not_load_it_through_us() -> None:
    code = (
        "import sys; from taskflow import TaskFlow; import taskflow.engine.worker\n"
        "from taskflow.telemetry import tracing\n"
        "assert tracing.active_here() is None and not [name for name in sys.modules if 'opentelemetry' in name]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(SOURCE.parent)})
