"""Processes of one version of the code on a database that others share, and what their clients ask of them."""

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.support.up import Up, free_port, wait_until

SECRET = "the same for all of them, as it has to be"
SHOP = '''
import asyncio
import json
import os
from pathlib import Path

import taskflow
from taskflow import JobContext, TaskFlow

app = TaskFlow()
CODE = str(Path(taskflow.__file__).parents[1])
LEDGER = Path(os.environ["LEDGER"])


def note_down(ctx: JobContext) -> None:
    with LEDGER.open("a") as ledger:
        ledger.write(json.dumps([ctx.kind, str(ctx.job_id), ctx.attempt, CODE]) + "\\n")


def codes_that_meet() -> set[str]:
    entries = [json.loads(line) for line in LEDGER.read_text().splitlines()]
    return {code for kind, _, _, code in entries if kind == "meet"}


@app.job("note", queue="shop")
async def note(ctx: JobContext) -> str:
    note_down(ctx)
    return CODE


@app.job("meet", queue="shop")
async def meet(ctx: JobContext, number: int) -> int:
    """It ends when another version runs one as well."""
    note_down(ctx)
    while len(codes_that_meet()) < 2:
        await asyncio.sleep(0.02)
    return number


@app.job("hold", queue="shop", timeout_s=600)
async def hold(ctx: JobContext, code: str) -> str:
    """It ends as soon as another version than *code* runs it."""
    note_down(ctx)
    if code == CODE:
        await asyncio.Event().wait()
    return CODE


@app.job("book", queue="shop")
async def book(ctx: JobContext) -> str:
    """What it submits in the transaction of its own end, with a unique key, is its result."""
    async with ctx.transaction() as connection:
        booked = note.options(connection=connection, unique_key=str(ctx.job_id))
        return str((await booked.enqueue()).job_id)


@app.job("flaky", queue="shop", retries=0)
async def flaky(ctx: JobContext) -> str:
    note_down(ctx)
    if ctx.attempt == 1:
        raise RuntimeError("the first attempt fails")
    return CODE
'''


class Version:
    """
    What runs of one version: an API, a worker of the application above, commands.

    Args:
        source: of its code.
        base: where all versions keep what they share.
        url: of their database.
        shop: the application as this version has it.
    """

    def __init__(self, name: str, source: Path, base: Path, url: str, *, shop: str = SHOP) -> None:
        self.code = str(source)
        self.place = base / name
        self.place.mkdir()
        (self.place / "shop.py").write_text(shop)
        self.environ = {
            "PYTHONPATH": self.code,
            "PATH": "/usr/bin:/bin",
            "TASKFLOW_ENV": "development",
            "TASKFLOW_DATABASE_URL": url,
            "TASKFLOW_SECRET_KEY": SECRET,
            "TASKFLOW_DATA_DIR": str(base / "files"),
            "LEDGER": str(base / "ledger"),
        }
        self._started: list[Up] = []
        self._clients: list[httpx.Client] = []

    def command(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "taskflow", *words],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> str:
        """Run a command to its end and return its output."""
        process = self.command(*words)
        output, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint
        return output.strip()

    def start_api(self, key: str) -> tuple[Up, httpx.Client]:
        """Start an API; return it and a client of it that has *key*."""
        port = free_port()
        api = self._start("api", "--port", str(port), ready="taskflow.api.start")
        headers = {"Authorization": f"Bearer {key}"}
        self._clients.append(httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", headers=headers, timeout=20))
        return api, self._clients[-1]

    def start_worker(self) -> Up:
        return self._start("worker", "--app", "shop:app", ready="Ctrl-C drains", prefix=("env", "-C", str(self.place)))

    def _start(self, command: str, *options: str, ready: str, prefix: tuple[str, ...] = ()) -> Up:
        shared: dict[str, Any] = {"environ": self.environ, "at_url": True, "prefix": prefix}
        up = Up(self.place / command, *options, command=command, ready=ready, **shared)
        self._started.append(up)
        return up

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        for up in self._started:
            up.stop()


def stop_at_once(worker: Up) -> None:
    """Tell it to stop, and again: what runs is handed back."""
    worker.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "stopping" in worker.output)
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait_end() == 0, worker.output


# Clients --------------------------------------------------------------------------------------------------------------


def submit(client: httpx.Client, kind: str, payload: Mapping[str, Any] | None = None, **fields: Any) -> str:
    answer = client.post("/jobs", json={"taskType": kind, "payload": payload or {}, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["jobId"])


def job_of(client: httpx.Client, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/jobs/{job_id}").raise_for_status().json()
    return found


def wait_for(client: httpx.Client, job_id: str, *states: str) -> dict[str, Any]:
    """Wait until a job is in one of *states*, and return it."""
    seen: list[dict[str, Any]] = [{}]

    def look() -> bool:
        seen[0] = job_of(client, job_id)
        return seen[0]["status"] in states

    try:
        wait_until(look, 30)
    except AssertionError as error:
        raise AssertionError(f"{error} for a job to be {' or '.join(states)}: {seen[0]}") from None
    return seen[0]


def ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    return wait_for(client, job_id, "completed", "failed", "cancelled")


def work(client: httpx.Client, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Ask as a worker over HTTP."""
    answer: dict[str, Any] = client.post(f"/worker/{what}", json=body).raise_for_status().json()
    return answer
