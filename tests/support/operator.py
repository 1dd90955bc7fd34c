"""An operator in a test: the command line in this process or as one of its own, on a database in any state."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from typer.testing import CliRunner

from taskflow.apps.cli import app
from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine.client import Engine
from taskflow.engine.job import Claim, JobError, JobId, NewJob, NewLogLine, OutcomeKind, WorkerId
from taskflow.engine.registry import JobContext, Registry
from taskflow.engine.store import Store
from taskflow.handlers import email
from tests.support.api import NoMail, Order

T = TypeVar("T")

SOURCE = Path(__file__).parents[2] / "src"
MAIL = {"to": "ada@example.com", "subject": "Hi", "body": "Hello."}
UNSET = {
    name: None
    for name in os.environ
    if name.startswith("TASKFLOW_") or name in {"JOB_TIMEOUT_MS", "MAX_RETRIES", "WORKER_CONCURRENCY", "PORT"}
}


@dataclass(frozen=True, slots=True)
class Said:
    """What a command wrote, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)

    @property
    def id(self) -> str:
        """The one word on stdout."""
        assert self.code == 0, self.err
        return self.out.strip()


class Operator:
    """Somebody at the command line of the deployment at *url*, and what its workers did before."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = Store()
        self.worker_id: WorkerId | None = None

    def taskflow(self, *words: str, stdin: str | bytes | None = None, **environ: str | None) -> Said:
        """Run a command in this process, its output going into a pipe."""
        env = {**UNSET, "TASKFLOW_DATABASE_URL": self.url, "TASKFLOW_ENV": "development", **environ}
        result = CliRunner().invoke(app, list(words), input=stdin, env=env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(result.exit_code, result.stdout, result.stderr)

    def start(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        """Start a command as a process of its own."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        # A suite that runs in the background ignores Ctrl-C, and so would its children: they are to hear it.
        return subprocess.Popen(
            self.command(*words),
            env=self.environ(),
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **options,
        )

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "taskflow", *words]

    def environ(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(SOURCE),
            "PATH": os.environ["PATH"],
            "TASKFLOW_DATABASE_URL": self.url,
            "TASKFLOW_ENV": "development",
        }

    def do(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run *work* on a connection, in a loop of its own."""

        async def run() -> T:
            database = Database(self.url, max_size=2, application_name="test")
            try:
                async with database.acquire() as connection:
                    return await work(connection)
            finally:
                await database.stop()

        return asyncio.run(run())

    def publish(self) -> None:
        """Make `send_email` and `order` known, as a starting worker does."""
        registry = Registry()
        email.register(registry, NoMail(), retries=3, timeout_s=30.0)

        @registry.job("order", payload=Order, queue="orders", retries=1, timeout_s=5.0)
        async def order(_ctx: JobContext, _payload: Order) -> None:
            raise AssertionError("no handler runs here")

        self.do(lambda connection: self.store.publish_kinds(connection, registry.published))

    def enqueue(self, kind: str = "order", **fields: Any) -> JobId:
        """Submit past the command line."""

        async def work(_connection: Connection) -> JobId:
            database = Database(self.url, max_size=1, application_name="test")
            try:
                job = NewJob(kind, fields.pop("payload", {"number": 1}), queue=fields.pop("queue", "orders"), **fields)
                return (await Engine(database).enqueue(job)).id
            finally:
                await database.stop()

        return self.do(work)

    def register_worker(self, *, queues: Sequence[str] = ("builtin", "orders"), kinds: Sequence[str] = ()) -> WorkerId:
        """Let a worker be alive that does nothing by itself."""
        worker_id = WorkerId(uuid4())

        async def work(connection: Connection) -> None:
            await self.store.register_worker(
                connection, worker_id=worker_id, host="there", pid=77, queues=list(queues), concurrency=4
            )
            await self.store.set_worker_kinds(connection, worker_id, kinds)

        self.do(work)
        return worker_id

    def claim(
        self,
        limit: int = 1,
        *,
        queues: Sequence[str] = ("builtin", "orders"),
        kinds: Sequence[str] = ("send_email", "order"),
    ) -> list[Claim]:
        """Take jobs, as a worker does."""
        worker_id = self.worker_id = self.worker_id or self.register_worker()
        return self.do(
            lambda connection: self.store.claim(
                connection,
                worker_id=worker_id,
                incarnation=1,
                queues=queues,
                kinds=kinds,
                limit=limit,
            )
        )

    def complete(self, claim: Claim, result: Any) -> None:
        outcome = policy.succeeded(claim, result, 0.25)
        assert self.do(lambda connection: self.store.complete(connection, [outcome])) == []

    def fail(self, claim: Claim, error: JobError | None = None, *, for_good: bool = False) -> None:
        """End an attempt with an error: with retries left it waits for the next."""
        error = error or JobError("RuntimeError", "boom", "Traceback …\nRuntimeError: boom")
        outcome = (
            policy.failed_for_good(claim, error, 0.25)
            if for_good
            else policy.failed(claim, OutcomeKind.ERROR, error, 0.25)
        )
        assert self.do(lambda connection: self.store.finish(connection, [outcome])) == []

    def write_logs(self, claim: Claim, *lines: tuple[str, str]) -> None:
        """Write lines of level and message as the handler of *claim*."""
        written = [NewLogLine(claim, level, message, 0.0) for level, message in lines]
        self.do(lambda connection: self.store.write_logs(connection, written, written_at_s=0.0))

    def failed_job(self, error: JobError | None = None, **fields: Any) -> str:
        """Return the id of a job among the dead letters."""
        job_id = self.enqueue(**fields)
        self.fail(self.claim()[0], error, for_good=True)
        return str(job_id)
