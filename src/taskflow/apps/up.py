"""
`taskflow up`: everything on one machine under one supervisor.

    data directory ── taken (flock) ── listening socket ── bound once, held here, inherited by each API process
    PostgreSQL ── ready ── migrated if needed ── first key ── credentials.json ── API and workers ── banner

Whatever cannot be had is one `SetupError`, and nothing is left running. Stopping goes the other way: API and workers
drain side by side, the worker row is handed back, PostgreSQL goes last. This process imports neither the web framework
nor Alembic: it idles for months.
"""

import asyncio
import json
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from ipaddress import ip_address
from pathlib import Path

import asyncpg

import taskflow
from taskflow.apps.data_dir import DataDirectory
from taskflow.apps.fleet import WorkerFleet
from taskflow.apps.settings import Settings, is_loopback, usual_data_dir
from taskflow.apps.supervisor import (
    MAX_FAILED_STARTS,
    POLL_S,
    Child,
    ChildSpec,
    Supervisor,
    spawn_python,
    stop_signals,
    unbreakable,
    until_ready,
)
from taskflow.apps.tracing import check_tracing, traced
from taskflow.db.embedded import EmbeddedPostgres
from taskflow.db.migrate import read_schema
from taskflow.db.pool import Database
from taskflow.identity.apikeys.service import ApiKeys, bootstrap
from taskflow.kernel.errors import SetupError
from taskflow.telemetry import log

BACKLOG = 2048  # connections that wait while the API restarts
POSTGRES_SIGNALS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 60.0))
PROGRESS_S = 5.0
CONNECT_PATIENCE_S = 10.0
ABANDONED_PORT_S = 5.0  # how long the API of a killed `up` may take to let go of its port

SAMPLE = {"taskType": "send_email", "payload": {"to": "you@example.org", "subject": "Hello", "body": "It works."}}


def run_up(settings: Settings, say: Callable[[str], None]) -> None:
    """
    Run until SIGINT or SIGTERM; a second one stops now.

    Args:
        say: writes a line for the person at the terminal.

    Raises:
        SetupError: with one line that says what to do; nothing is left running.
    """
    say = unbreakable(say)
    log.configure(settings.log_format, level=settings.log_level)
    check_tracing(settings)
    directory = DataDirectory(settings.data_dir)
    abandoned = directory.acquire()
    try:
        directory.write_environment(settings.environment)
        with closing(
            _listen(settings.host, settings.port, patience_s=ABANDONED_PORT_S if abandoned else 0)
        ) as listener:
            postgres = None
            if settings.database_url is None:
                postgres = EmbeddedPostgres(directory.postgres, report=say)
                postgres.initialise()
            try:
                with traced(settings):
                    asyncio.run(_Up(settings, directory, listener, postgres, say).run())
            finally:
                if postgres is not None:
                    postgres.stop()
    finally:
        directory.release()


class _Up:
    """One run. The members in the order in which they come up."""

    def __init__(
        self,
        settings: Settings,
        directory: DataDirectory,
        listener: socket.socket,
        postgres: EmbeddedPostgres | None,
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._listener = listener
        self._postgres = postgres
        self._say = say
        self._stop = asyncio.Event()
        self._server: Child | None = None
        self._api: Child | None = None
        self._fleet: WorkerFleet | None = None

    async def run(self) -> None:
        async with Supervisor(self._say) as supervisor:
            with stop_signals(self._stop, supervisor.hurry, self._say):
                try:
                    starting = asyncio.create_task(self._start(supervisor), name="start")
                    stopping = asyncio.create_task(self._stop.wait(), name="wait for a signal")
                    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
                    if starting.done():
                        await starting
                        await stopping
                    else:
                        starting.cancel()
                        await asyncio.wait([starting])
                finally:
                    await self._shut_down(supervisor)

    async def _start(self, supervisor: Supervisor) -> None:
        url = self._settings.database_url
        if self._postgres is not None:
            url = await self._start_postgres(supervisor, self._postgres)
        assert url is not None
        environ = self._settings.child_environ(
            database_url=url,
            secret_key=self._directory.get_secret(self._settings),
            port=str(self._listener.getsockname()[1]),
        )

        await self._migrate(supervisor, url, environ)
        key_is_new = await self._settle_key(url)
        self._say("starting: API and workers")

        def spawn_api(_incarnation: int, control: int) -> "subprocess.Popen[bytes]":
            listener = self._listener.fileno()
            return spawn_python(
                ["api", "--fd", str(listener), "--control-fd", str(control)],
                environ=environ,
                pass_fds=(listener, control),
            )

        self._api = supervisor.start(ChildSpec("api", spawn_api))
        self._fleet = WorkerFleet(supervisor, self._settings, url, environ)
        self._fleet.start()
        await asyncio.gather(*(until_ready(child) for child in (self._api, *self._fleet.children)))
        self._greet(key_is_new=key_is_new)

    async def _start_postgres(self, supervisor: Supervisor, postgres: EmbeddedPostgres) -> str:
        spec = ChildSpec(
            "postgres", lambda _incarnation, _control: postgres.spawn(), controlled=False, signals=POSTGRES_SIGNALS
        )
        self._server = supervisor.start(spec)
        began = said_at = time.monotonic()
        while not postgres.is_ready():
            if self._server.crashes >= MAX_FAILED_STARTS:
                raise SetupError(f"PostgreSQL does not start: {postgres.last_words()}; its log is {postgres.log_path}")
            now = time.monotonic()
            if now - said_at >= PROGRESS_S:
                said_at = now
                self._say(f"PostgreSQL is recovering after a crash, {now - began:.0f} s so far")
            await asyncio.sleep(POLL_S)
        return postgres.url

    async def _migrate(self, supervisor: Supervisor, url: str, environ: dict[str, str]) -> None:
        async with _connection(url) as connection:
            if (await read_schema(connection)).fits:
                return
        with tempfile.TemporaryFile() as complaints:

            def spawn() -> "subprocess.Popen[bytes]":
                return subprocess.Popen(
                    [sys.executable, "-m", "taskflow", "migrate"],
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=complaints,
                    start_new_session=True,
                )

            code = await supervisor.run_once(spawn, "migrate")
            complaints.seek(0)
            words = complaints.read().decode(errors="replace").strip()
        if code != 0:
            last = words.splitlines()[-1].removeprefix("taskflow: ") if words else f"exit code {code}"
            raise SetupError(f"the database could not be migrated: {last}")

    async def _settle_key(self, url: str) -> bool:
        """Write the credentials; make a key where there is none that works. True if it did."""
        database = Database(url, max_size=2, application_name="taskflow up", patience_s=CONNECT_PATIENCE_S)
        await database.start()
        try:
            kept = self._directory.read_credentials().get("apiKey")
            made = None
            if not kept or await ApiKeys(database).authenticate(kept) is None:
                kept = None
                # On a database of someone else's, in production, keys are given out by those who have one.
                again = self._postgres is not None or self._settings.is_development
                async with database.transaction() as connection:
                    made = await bootstrap(connection, again=again)
                    self._directory.write_credentials(self._url, made)
            else:
                self._directory.write_credentials(self._url, kept)
            return made is not None
        finally:
            await database.stop()

    async def _shut_down(self, supervisor: Supervisor) -> None:
        """API and workers side by side, then what they held, PostgreSQL last."""
        await asyncio.gather(self._stop_api(supervisor), self._fleet.stop() if self._fleet else _nothing())
        await supervisor.stop([self._server] if self._server else [])

    async def _stop_api(self, supervisor: Supervisor) -> None:
        """Stop the API, then let go of its port: a client is refused at once instead of waiting for nobody."""
        await supervisor.stop([self._api] if self._api else [])
        self._listener.close()

    @property
    def _url(self) -> str:
        """The origin that clients on this machine use."""
        host, port = self._listener.getsockname()[:2]
        if ip_address(host).is_unspecified:
            host = "127.0.0.1"
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _greet(self, *, key_is_new: bool) -> None:
        credentials = self._directory.credentials
        key = self._directory.read_credentials().get("apiKey", "")
        key_is_shown = key_is_new and sys.stdout.isatty()  # elsewhere it would stay in a log
        database = f"PostgreSQL on port {self._postgres.port}" if self._postgres else "PostgreSQL at the URL given"
        workers = f"{self._settings.workers} worker process{'' if self._settings.workers == 1 else 'es'}"
        self._say(f"TaskFlow {taskflow.__version__} listens on {self._url} ({self._settings.environment.value})")
        self._say(f"  data     {self._directory.path}; {database}; {workers}")
        self._say(f"  docs     {self._url}/docs")
        if self._directory.path != usual_data_dir():
            self._say(
                f"  commands in other terminals need  export TASKFLOW_DATA_DIR={shlex.quote(str(self._directory.path))}"
            )
        if key:
            told, bearer = words_for_key(key, credentials, shown=key_is_shown)
            self._say(f"  API key  {told}")
            self._say("Submit a first job with")
            self._say(f'  curl -s {self._url}/api/v1/jobs -H "Authorization: Bearer {bearer}" \\')
            self._say(f"    -H 'Content-Type: application/json' -d {shlex.quote(json.dumps(SAMPLE))}")
        self._say("Ctrl-C drains and stops everything; a second one stops now.")
        if not is_loopback(self._settings.host):
            self._say("It is reachable from other machines, without TLS: put a proxy with TLS before it.")


def words_for_key(key: str, credentials: Path, *, shown: bool) -> tuple[str, str]:
    """Return what is said of the key, and what stands for it in a shell's command."""
    if shown:
        return f"{key}   shown this once, kept in {credentials}", key
    return f"in {credentials}", f"$(grep -o 'tf_[0-9A-Za-z]*' {shlex.quote(str(credentials))})"


def _listen(host: str, port: int, *, patience_s: float) -> socket.socket:
    """Bind and listen; SetupError says what to do."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise SetupError(f"cannot listen on {host}: {error.strerror}; choose another address with --host") from None
    deadline = time.monotonic() + patience_s
    while True:
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
            return listener
        except OSError as error:
            listener.close()
            if time.monotonic() < deadline:
                time.sleep(POLL_S)
                continue
            raise SetupError(
                f"cannot listen on {host} port {port} ({error.strerror}): stop what does, or choose another with "
                "--port (0 takes a free one)"
            ) from None


@asynccontextmanager
async def _connection(url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_PATIENCE_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise SetupError(f"the database cannot be reached: {error or type(error).__name__}") from error
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


async def _nothing() -> None:
    return
