"""The server as a newcomer starts it: its own process, its lines, its signals."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

import pytest

from learn_client import GET_HEALTH, PATIENCE_S, RawConnection, request
from taskflow_learn.config import HOME

LIMIT_S = 30


@asynccontextmanager
async def started(folder: Path, *arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start `python -m taskflow_learn` in *folder*; kill it if it is still there at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "taskflow_learn",
        *arguments,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(HOME / "src"), "PORT": "0", **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().rstrip("\n")


async def port_of(process: asyncio.subprocess.Process) -> int:
    """Read the three start-up lines; return the port."""
    assert await line_of(process) == "Environment variables loaded natively."
    match = re.fullmatch(r"TaskFlow server started on http://localhost:(\d+)", await line_of(process))
    assert match is not None
    assert await line_of(process) == "Listening for requests... (Press Ctrl+C to stop)"
    return int(match[1])


@pytest.mark.covers("S1-1", "S1-2", "S1-4")
async def test_it_starts_with_three_lines_and_the_tokens_of_the_example(tmp_path: Path) -> None:
    async with started(tmp_path) as process:
        port = await port_of(process)
        async with RawConnection.open(port) as connection:
            assert (await connection.ask(request("POST", "/tasks", body=b'{"title":"a"}'))).status == 201


@pytest.mark.covers("S1-2")
async def test_the_first_answer_comes_soon(tmp_path: Path) -> None:
    """Measured: about 0.15 s. The bound is for a busy machine."""
    begun = perf_counter()
    async with started(tmp_path) as process, RawConnection.open(await port_of(process)) as connection:
        assert (await connection.ask(GET_HEALTH)).status == 200
        assert perf_counter() - begun < 5


@pytest.mark.covers("S1-4")
async def test_dotenv_of_the_working_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ADMIN_TOKEN=mine\n")
    async with (
        started(tmp_path, ADMIN_TOKEN="not this one") as process,
        RawConnection.open(await port_of(process)) as connection,
    ):
        assert (await connection.ask(request("GET", "/tasks", token="mine"))).status == 200
        assert (await connection.ask(request("GET", "/tasks"))).status == 401


@pytest.mark.covers("S1-6")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """Exit code 0, idle connections closed, workers gone, nothing on stderr, and the running request answered."""
    async with started(tmp_path) as process:
        port = await port_of(process)
        async with RawConnection.open(port) as idle, RawConnection.open(port) as busy:
            assert (await idle.ask(GET_HEALTH)).status == 200
            job = await busy.ask(request("GET", "/demo/cpu/worker/run?iterations=1"))
            worker = json.loads(job.body)["output"]["threadId"]
            await busy.send(request("GET", "/demo/cpu/worker/run?iterations=3000000"))
            while json.loads((await idle.ask(request("GET", "/demo/cpu/worker/stats"))).body)["runningJobs"] == 0:
                pass
            process.send_signal(number)
            answer = await busy.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await idle.rest() == b""
        output, errors = await process.communicate()
        assert process.returncode == 0
        assert errors == b""
        assert output.decode().splitlines()[-1] == "TaskFlow server stopped."
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


async def test_workers_end_with_a_server_that_was_killed(tmp_path: Path) -> None:
    async with started(tmp_path) as process:
        async with RawConnection.open(await port_of(process)) as connection:
            job = await connection.ask(request("GET", "/demo/cpu/worker/run?iterations=1"))
        worker = json.loads(job.body)["output"]["threadId"]
        process.kill()
        await process.wait()
        async with asyncio.timeout(PATIENCE_S):
            while _is_running(worker):
                await asyncio.sleep(0.005)


@pytest.mark.covers("S1-3")
async def test_a_taken_port_is_explained(tmp_path: Path) -> None:
    async with started(tmp_path) as first:
        port = await port_of(first)
        async with started(tmp_path, PORT=str(port)) as second:
            _, errors = await second.communicate()
            assert second.returncode == 2
            assert f"cannot listen on 127.0.0.1:{port}" in errors.decode()
            assert f"lsof -ti:{port}" in errors.decode()
            assert "Traceback" not in errors.decode()


@pytest.mark.covers("S1-5")
async def test_a_wrong_setting_is_named_with_its_limits(tmp_path: Path) -> None:
    async with started(tmp_path, WORKER_POOL_SIZE="many") as process:
        _, errors = await process.communicate()
        assert process.returncode == 2
        expected = "TaskFlow cannot start: WORKER_POOL_SIZE must be a whole number from 1 to 64, got 'many'\n"
        assert errors.decode() == expected


async def test_an_unknown_command_is_refused(tmp_path: Path) -> None:
    async with started(tmp_path, "dance") as process:
        _, errors = await process.communicate()
        assert process.returncode == 2
        assert "dance" in errors.decode()


@pytest.mark.covers("S1-73", "X-1")
async def test_a_restart_forgets_everything(tmp_path: Path) -> None:
    """The stated limit of the learning edition: tasks live in memory."""
    for _ in range(2):
        async with started(tmp_path) as process, RawConnection.open(await port_of(process)) as connection:
            assert json.loads((await connection.ask(request("GET", "/tasks/count"))).body) == {"count": 0}
            assert (await connection.ask(request("POST", "/tasks", body=b'{"title":"a"}'))).status == 201


def _is_running(pid: int) -> bool:
    """Whether *pid* runs; a process that nobody has buried yet does not."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
