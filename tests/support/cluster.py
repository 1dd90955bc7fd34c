"""
Two real PostgreSQL servers with streaming replication: made, killed, promoted, and made a pair again.

Both come from the embedded server's binaries, on loopback. They flush nothing: processes die here, not the machine.
"""

import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg

from taskflow.db.embedded import QUEUE_SETTINGS, EmbeddedPostgres
from taskflow.db.server_program import find_program
from tests.support.up import free_port, wait_until

START_S = 60.0
SETTINGS = {**QUEUE_SETTINGS, "fsync": "off"}
# In the file, not on the command line: pg_rewind starts the server once by itself, and that must keep the WAL too.
REPLICATION = "wal_log_hints = on\nwal_keep_size = '512MB'\n"
LONG = "-without-socket" * 6


class Node:
    """One server, by its *name* what the other calls it in `synchronous_standby_names`."""

    def __init__(self, directory: Path, name: str, *, password: str | None = None) -> None:
        self.name = name
        self.port = free_port(20_000, 29_999)
        self.directory = directory
        self.server = self._make(password)
        self.process: subprocess.Popen[bytes] | None = None

    def _make(self, password: str | None) -> EmbeddedPostgres:
        return EmbeddedPostgres(self.directory, port=self.port, settings=SETTINGS, password=password)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def password(self) -> str:
        return self.url.split("://taskflow:", 1)[1].split("@", 1)[0]

    def start(self) -> None:
        """Start it, as what its directory says: a primary, or a standby. Waits until it answers."""
        is_new = not self.directory.exists()
        self.server.initialise()
        if is_new:
            with (self.directory / "postgresql.conf").open("a") as file:
                file.write(REPLICATION)
        self.process = self.server.spawn()
        wait_until(self.answers, START_S)

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.server.last_words()
        with suppress(psycopg.OperationalError):
            return self.ask("SELECT 1") == 1
        return False

    def ask(self, statement: str, url: str | None = None) -> object:
        """Run a statement in autocommit and return the first value of its first row, if it has one."""
        with psycopg.connect(url or self.url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    def set(self, name: str, value: str) -> None:
        """Set what applies to the whole server, at once."""
        self.ask(f"ALTER SYSTEM SET {name} = '{value}'")
        self.ask("SELECT pg_reload_conf()")
        wait_until(lambda: self.ask(f"SHOW {name}") == value)

    def kill(self) -> None:
        """SIGKILL the postmaster: its backends notice and end at once."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.server.stop()  # lets go of the directory

    def stop(self) -> None:
        self.server.stop()

    def copy_from(self, primary: "Node") -> None:
        """Take a base backup, and be a standby of *primary* at the next start."""
        program = find_program(self.directory)
        program.account.own(self.directory.parent)
        program.run(
            "pg_basebackup", "-D", self.directory, "-d", primary.conninfo(self.name), "-R", "-c", "fast", "--no-sync"
        )
        self.server = self._make(primary.password)

    def rewind_to(self, primary: "Node") -> None:
        """Give up what *primary* does not have, and be its standby at the next start."""
        source = ("--source-server", primary.conninfo(self.name))
        find_program(self.directory).run("pg_rewind", "-D", self.directory, *source, "-R", "--no-sync")
        self.server = self._make(primary.password)

    def conninfo(self, application: str) -> str:
        return (
            f"host=127.0.0.1 port={self.port} user=taskflow password={self.password} dbname=taskflow "
            f"application_name={application}"
        )

    def is_synchronous(self, standby: "Node") -> bool:
        """Say whether commits here wait for *standby*, and it streams."""
        state = f"SELECT sync_state FROM pg_stat_replication WHERE application_name = '{standby.name}'"
        return self.ask(f"{state} AND state = 'streaming'") in {"sync", "quorum"}


class Cluster:
    """A primary `a` and its synchronous standby `b`."""

    def __init__(self, base: Path) -> None:
        # pg_rewind reads every file of its source and stumbles over a socket; where the path is long, there is none.
        self.a = Node(base / f"a{LONG}", "a")
        self.b = Node(base / f"b{LONG}", "b")

    def start(self) -> "Cluster":
        self.a.start()
        self.b.copy_from(self.a)
        self.b.start()
        self.make_synchronous(self.a, self.b)
        return self

    @staticmethod
    def make_synchronous(primary: Node, standby: Node) -> None:
        primary.set("synchronous_standby_names", standby.name)
        wait_until(lambda: primary.is_synchronous(standby))

    @property
    def url(self) -> str:
        """Both hosts: connections go to the one that takes writes."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in (self.a, self.b))
        return f"postgresql://taskflow:{self.a.password}@{hosts}/taskflow?target_session_attrs=read-write"

    def stop(self) -> None:
        for node in (self.b, self.a):
            node.stop()


def timed(what: Callable[[], bool], timeout_s: float) -> float:
    """Wait until it is so; return how many seconds that took."""
    began = time.monotonic()
    wait_until(what, timeout_s)
    return time.monotonic() - began
