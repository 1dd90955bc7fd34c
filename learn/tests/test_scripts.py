"""The scripts, run as a learner runs them."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from learn_client import ADMIN, USER
from taskflow_learn.config import Settings
from taskflow_learn.server import Server

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
LIMIT_S = 50


@pytest.fixture
def settings(change: Callable[..., Settings]) -> Settings:
    return change(worker_pool_size=1, report_pool_size=1)


async def start(script: str, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPTS / script),
        *arguments,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONFAULTHANDLER": "1",
            "ADMIN_TOKEN": ADMIN,
            "USER_TOKEN": USER,
            **environment,
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(script: str, *arguments: str, **environment: str) -> str:
    """Run *script* to its end; return what it prints."""
    process = await start(script, *arguments, **environment)
    async with asyncio.timeout(LIMIT_S):
        output, errors = await process.communicate()
    assert (process.returncode, errors.decode()) == (0, "")
    return output.decode()


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.mark.slow
@pytest.mark.covers("S1-64")
async def test_the_full_demo_ends_with_lessons_and_numbers(server: Server) -> None:
    output = await run("full_demo.py", BASE_URL=url(server), ITERATIONS="300000")
    assert all(f"\n{number}/9  " in output for number in range(1, 10))
    learned, measured = output.split("What was learned:")[1].split("What was measured")
    assert "worker process" in learned
    assert "ping while the loop computes, p95 / slowest" in measured
    assert len(server.services.store) == 0  # it cleans up behind itself


@pytest.mark.slow
@pytest.mark.covers("S1-65")
async def test_the_live_events_demo_hears_three_events(server: Server) -> None:
    output = await run("live_events_demo.py", BASE_URL=url(server))
    places = [output.index(event) for event in ("task.created", "task.updated", "task.deleted", "Summary")]
    assert places == sorted(places)


@pytest.mark.slow
@pytest.mark.covers("S1-66")
async def test_the_resolver_demo_shows_an_order_and_a_circle(server: Server) -> None:
    output = await run("dependency_resolver_demo.py", BASE_URL=url(server))
    assert "200: do C, then B, then A" in output
    assert "409 CONFLICT: A → B → C → A" in output
    assert output.count("  422 ") == 3  # ids may have it, too
    assert len(server.services.store) == 0


@pytest.mark.slow
@pytest.mark.covers("S1-67")
async def test_the_list_and_dict_benchmark_says_how_much_faster() -> None:
    output = await run("list_versus_dict_benchmark.py", "20000")
    assert "20,000 items" in output
    assert "dict faster than list" in output


@pytest.mark.slow
@pytest.mark.covers("S1-68")
async def test_the_worker_benchmark_ends_in_json() -> None:
    output = await run("worker_benchmark.py", "200000", "3")
    result = json.loads(output[output.index("\n{") :])
    assert (result["iterations"], result["jobs"]) == (200_000, 3)
    assert result["mainThreadMs"] > 0
    assert result["workerMs"] > 0


@pytest.mark.slow
@pytest.mark.covers("S1-69")
async def test_the_terminal_client_talks_and_listens(server: Server, admin: httpx.AsyncClient) -> None:
    address = url(server).replace("http", "ws") + "/ws/tasks"
    process = await start("websocket_client.py", address)
    assert process.stdin is not None
    assert process.stdout is not None
    heard = ""

    async def until(words: str) -> None:
        nonlocal heard
        assert process.stdout is not None
        while words not in heard:
            line = await process.stdout.readline()
            assert line, heard
            heard += line.decode()

    try:
        async with asyncio.timeout(LIMIT_S):
            await until("connection.ready")
            process.stdin.write(b"ping\nsubscribe alpha\n{oops\n")
            await until("not sent, because it is not JSON")
            await until('"alpha"')
            assert "pong" in heard
            await admin.post("/tasks", json={"title": "seen in the terminal"})
            await until("seen in the terminal")
            process.stdin.close()
            process.send_signal(signal.SIGINT)
            _, errors = await process.communicate()
    except TimeoutError:
        process.send_signal(signal.SIGABRT)  # with faulthandler it says where it stands
        output, errors = await process.communicate()
        pytest.fail(f"after {LIMIT_S} s it had said: {heard}{output.decode()}\n{errors.decode()}")
    assert (process.returncode, errors) == (0, b"")


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        ("list_versus_dict_benchmark.py", ["5"], "from 100 to 5000000, got '5'"),
        ("worker_benchmark.py", ["0"], "iterations must be a whole number from 1"),
        ("worker_benchmark.py", ["1", "65"], "jobs must be a whole number from 1 to 64"),
        ("websocket_client.py", ["ws://127.0.0.1:1/"], "cannot connect to ws://127.0.0.1:1/"),
        ("full_demo.py", [], "ITERATIONS must be a whole number"),
    ],
)
async def test_a_mistake_is_explained(script: str, arguments: list[str], words: str) -> None:
    process = await start(script, *arguments, ITERATIONS="many")
    output, errors = await process.communicate()
    assert process.returncode == 1
    assert words in errors.decode()
    assert "Traceback" not in errors.decode()
    assert b"Summary" not in output


async def test_a_script_does_not_hide_that_its_server_is_down() -> None:
    """It starts one of its own only if nobody told it where to look."""
    process = await start("dependency_resolver_demo.py", BASE_URL="http://127.0.0.1:1")
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"nothing answers at http://127.0.0.1:1" in errors
