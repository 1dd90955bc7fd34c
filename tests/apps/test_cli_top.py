"""`taskflow top`: what it counts, how rates come about, and how it behaves in a pipe and in a terminal."""

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from tests.support.operator import Operator, Said

from taskflow.apps.cli import watch
from taskflow.apps.cli.session import Place, make_session, opened
from taskflow.engine.job import WorkerId, WorkerInfo
from taskflow.engine.leader import NAME

ISO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def operator(database_url: str) -> Operator:
    operator = Operator(database_url)
    operator.publish()
    return operator


def look(operator: Operator) -> watch.Look:
    async def run() -> watch.Look:
        place = Place(operator.url, development=True)
        async with opened(place) as database, database.acquire() as connection:
            now = await connection.fetchval("SELECT now()")
            return await watch._look(make_session(place, database, now).engine, now)

    return asyncio.run(run())


def worker(queues: list[str]) -> WorkerInfo:
    at = datetime.now(UTC)
    return WorkerInfo(WorkerId(uuid4()), "there", 77, queues, [], 4, at, at, alive=True)


def top(operator: Operator, *words: str) -> Said:
    return operator.taskflow("top", "--once", "--interval", "0.5", *words)


@pytest.mark.slow
def test_queues_and_workers_are_counted(operator: Operator) -> None:
    worker_id = operator.worker_id = operator.register_worker(kinds=["order"])
    operator.do(lambda connection: operator.store.lead(connection, NAME, worker_id, term_s=60))
    operator.failed_job()
    for _ in range(3):
        operator.enqueue()
    operator.fail(operator.claim()[0])
    operator.claim()
    operator.enqueue("send_email", queue="elsewhere", payload={})
    document = top(operator, "--json").json
    queues = {queue.pop("queue"): queue for queue in document["queues"]}
    assert list(queues) == ["builtin", "elsewhere", "orders"]
    counted = {name: queues["orders"][name] for name in ("pending", "active", "scheduled", "retrying", "hasWorker")}
    assert counted == {"pending": 1, "active": 1, "scheduled": 0, "retrying": 1, "hasWorker": True}
    assert queues["elsewhere"]["hasWorker"] is False
    assert queues["builtin"]["oldestDueAgeMs"] is None
    [worker] = document["workers"]
    assert (worker["active"], worker["concurrency"], worker["alive"]) == (1, 4, True)
    assert (document["leader"], document["deadLetters"]) == (worker["workerId"], 1)
    assert document["intervalMs"] >= 500


@pytest.mark.slow
def test_a_pipe_gets_one_view_as_text(operator: Operator) -> None:
    operator.register_worker(kinds=["order"])
    operator.enqueue()
    said = top(operator)
    assert (said.code, said.err) == (0, "")
    assert re.search(rf"^taskflow +127\.0\.0\.1:\d+/test_\w+  {ISO}$", said.out, re.MULTILINE)
    assert re.search(r"^rates +[\d.]+/s submitted  [\d.]+/s ended  [\d.]+/s attempts failed$", said.out, re.MULTILINE)
    assert re.search(r"^workers +1 alive, 0 of 4 places taken$", said.out, re.MULTILINE)
    assert re.search(r"^orders +1 +0 +0\.0 +[\d.]+m?s +0 +0 +yes$", said.out, re.MULTILINE)
    assert re.search(r"^there:77 +0 +4 +builtin,orders +", said.out, re.MULTILINE)
    assert "\x1b" not in said.out


def test_two_looks_make_rates(operator: Operator) -> None:
    before = look(operator)
    written = before.activity.written
    later = replace(
        before,
        seen_s=before.seen_s + 2.0,
        activity=replace(
            before.activity,
            written=replace(written, submitted=written.submitted + 50, ended=written.ended + 30),
            ended={"orders": 7},
            ended_since=before.at,
        ),
        workers=[worker(queues=["orders", "other"])],
    )
    earlier = replace(before, activity=replace(before.activity, ended={"orders": 1}, ended_since=before.at))
    view = watch.view_of(earlier, later)
    assert {queue.queue: queue.ended_per_s for queue in view.queues} == {"orders": 3.0, "other": 0.0}
    moved_on = replace(later, activity=replace(later.activity, ended_since=before.at + timedelta(hours=1)))
    assert [queue.ended_per_s for queue in watch.view_of(earlier, moved_on).queues] == [None, None]
    assert (view.rates.submitted, view.rates.ended, view.rates.unsuccessful) == (25.0, 15.0, 0.0)
    backwards = watch.view_of(later, replace(before, seen_s=later.seen_s + 1))
    assert backwards.rates.submitted == 0.0, "a partition was dropped"
    assert watch.view_of(before, before).rates.submitted == 0.0


def test_what_is_written_shows_in_the_counters(operator: Operator) -> None:
    before = look(operator).activity.written
    operator.failed_job()
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        now = look(operator).activity.written
        grown = (now.submitted - before.submitted, now.ended - before.ended, now.unsuccessful - before.unsuccessful)
        if grown == (1, 1, 1):
            assert look(operator).activity.ended == {"orders": 1}
            return
    raise AssertionError(f"grew by {grown}")


def test_what_is_asked_wrongly_is_said(operator: Operator) -> None:
    said = operator.taskflow("top", "--interval", "0.1")
    assert (said.code, said.err) == (2, "taskflow: --interval: must be from 0.5 to 3600 seconds, got 0.1\n")
    with psycopg.connect(operator.url, autocommit=True) as connection:
        connection.execute("UPDATE taskflow.alembic_version SET version_num = '0000'")
    said = operator.taskflow("top", "--once")
    assert (said.code, said.err.endswith(": run `taskflow migrate`\n")) == (1, True)


@pytest.mark.slow
@pytest.mark.system
def test_json_goes_on_line_by_line_until_told_to_stop(operator: Operator) -> None:
    process = operator.start("top", "--json", "--interval", "0.5")
    assert process.stdout is not None
    looks: list[dict[str, Any]] = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert looks[0]["at"] < looks[1]["at"]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, "")


@pytest.mark.slow
@pytest.mark.system
def test_a_terminal_is_watched_until_q_and_left_as_it_was(operator: Operator) -> None:
    operator.register_worker(kinds=["order"])
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    before = termios.tcgetattr(slave)
    process = subprocess.Popen(
        operator.command("top", "--interval", "0.5"),
        env={**operator.environ(), "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    screen = b""
    while b"q quits" not in screen:
        screen += os.read(master, 65536)
    assert b"\x1b[?1049h" in screen  # on a screen of its own
    assert b"there:77" in screen
    os.write(master, b"q")
    while b"\x1b[?1049l" not in screen:  # and back
        screen += os.read(master, 65536)
    assert process.wait(10) == 0
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)
