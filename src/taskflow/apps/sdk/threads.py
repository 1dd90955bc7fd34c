"""
The app's database for code without an event loop: psycopg, a few connections, any number of threads and forks.

The engine's own statements run here too: they are coroutines over an asyncpg connection, and over `Statements`, which
looks like one and never waits, they end at their first step (`run_now`). So there is one `Engine` and one set of
statements for both worlds.
"""

import os
import threading
import time
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import asyncpg
import psycopg
from psycopg import sql
from psycopg.adapt import Loader
from psycopg.rows import RowMaker
from psycopg.types.string import TextLoader

from taskflow.db.pool import session_settings
from taskflow.db.query import Connection
from taskflow.kernel.errors import Unavailable

T = TypeVar("T")

MAX_CONNECTIONS = 10
CONNECT_TIMEOUT_S = 5
FRESH_S = 5.0  # a connection that was used so lately is taken to be alive
WAIT_S = 30.0  # for a connection that another thread has
STATEMENT_TIMEOUT_S = 30.0  # of our own statements, as with an event loop
# A server that has vanished is noticed by what is not acknowledged, and by probes while we wait for an answer.
TCP: Mapping[str, Any] = {
    "tcp_user_timeout": 30_000,  # ms
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}

_OF_PARENTS: list[object] = []  # kept, because a connection says goodbye to the server when it is forgotten


def run_now(step: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for nothing, but may give an event loop its turn. AssertionError if it does wait."""
    try:
        while step.send(None) is None:
            pass
    except StopIteration as done:
        return cast("T", done.value)
    step.close()
    raise AssertionError("a statement without an event loop has waited for something")


class ThreadDatabase:
    """
    Connections by psycopg, at most `MAX_CONNECTIONS`, lent to one thread each. Connects at the first use.

    Args:
        for_guests: connections are lent to code that is not ours: planned as usual, statements take as long as they
            take, and a session is reset between borrowers.
    """

    def __init__(self, url: str, *, for_guests: bool = False) -> None:
        self._url = url
        self._for_guests = for_guests
        self._forking = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._idle: list[tuple[psycopg.Connection[Any], float]] = []
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._end = weakref.finalize(self, _close_all, self._idle, self._pid)

    def _leave_parent(self) -> None:
        """After a fork: the parent's connections are neither used nor closed here."""
        with self._forking:
            if os.getpid() != self._pid:
                _OF_PARENTS.append(self._idle)
                self._end.detach()
                self._start()

    @contextmanager
    def connection(self) -> Iterator["psycopg.Connection[Any]"]:
        """
        Lend a connection in autocommit mode.

        Raises:
            Unavailable: the database is away, or every connection has been lent for `WAIT_S`.
        """
        if os.getpid() != self._pid:
            self._leave_parent()
        places = self._places
        if not places.acquire(timeout=WAIT_S):
            raise Unavailable(f"all {MAX_CONNECTIONS} connections are in use", retry_after_s=1.0)
        try:
            connection = self._take() or self._connect()
            try:
                yield connection
            finally:
                self._give_back(connection)
        finally:
            places.release()

    @contextmanager
    def transaction(self) -> Iterator["psycopg.Connection[Any]"]:
        """Lend a connection inside BEGIN … COMMIT; an error rolls back."""
        with self.connection() as connection, connection.transaction():
            yield connection

    @contextmanager
    def statements(self, *, in_transaction: bool = False) -> Iterator[Connection]:
        """Lend a connection to the engine's statements. Raises Unavailable if it is lost or late."""
        with self.transaction() if in_transaction else self.connection() as connection:
            try:
                yield cast("Connection", Statements(connection))
            except psycopg.OperationalError as error:
                late = isinstance(error, psycopg.errors.QueryCanceled)
                words = f"did not answer within {STATEMENT_TIMEOUT_S:g} s" if late else "went away"
                raise Unavailable(f"the database {words}; a submit may have happened", retry_after_s=1.0) from error

    def close(self) -> None:
        """Close what is not lent; connections are made anew when needed."""
        _close_all(self._idle, self._pid)

    def _take(self) -> "psycopg.Connection[Any] | None":
        while self._idle:
            try:
                connection, used_at = self._idle.pop()
            except IndexError:  # another thread was faster
                return None
            if connection.closed:
                continue
            if time.monotonic() - used_at < FRESH_S:
                return connection
            try:
                connection.execute("SELECT 1")
            except psycopg.OperationalError:
                connection.close()
            else:
                return connection
        return None

    def _connect(self) -> "psycopg.Connection[Any]":
        settings: dict[str, str] = {}
        if not self._for_guests:
            limit = f"{STATEMENT_TIMEOUT_S * 1000:.0f}"
            settings = {**session_settings("taskflow-app"), "statement_timeout": limit}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items() if name != "application_name")
        try:
            return psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_S,
                application_name="taskflow-app",
                options=options or None,
                **TCP,
            )
        except psycopg.OperationalError as error:
            raise Unavailable("the database cannot be reached", retry_after_s=1.0) from error

    def _give_back(self, connection: "psycopg.Connection[Any]") -> None:
        if connection.closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.close()
            return
        if self._for_guests:
            with suppress(psycopg.Error):
                connection.execute("DISCARD ALL", prepare=False)
                connection.prepare_threshold = 5
        self._idle.append((connection, time.monotonic()))


def _close_all(idle: "list[tuple[psycopg.Connection[Any], float]]", pid: int) -> None:
    if os.getpid() != pid:
        return
    while idle:
        connection, _ = idle.pop()
        connection.close()


class _InstantLoader(Loader):
    """Instants in UTC, whatever the session's time zone, as asyncpg gives them."""

    def load(self, data: Any) -> datetime:
        return datetime.fromisoformat(bytes(data).decode()).astimezone(UTC)


class _Row(tuple[Any, ...]):
    """A row as asyncpg gives it: by name, by place, in order, and as keyword arguments."""

    names: dict[str, int]

    def keys(self) -> list[str]:
        return list(self.names)

    def __getitem__(self, key: Any) -> Any:
        return tuple.__getitem__(self, self.names[key] if isinstance(key, str) else key)


def _rows(cursor: "psycopg.Cursor[Any]") -> RowMaker[_Row]:
    names = {column.name: index for index, column in enumerate(cursor.description or ())}

    def make(values: Any) -> _Row:
        row = _Row(values)
        row.names = names
        return row

    return make


class Statements:
    """What the engine's statements need of an asyncpg connection, over a psycopg one. Nothing here ever waits."""

    blocks = True  # whoever would do something meanwhile need not try

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection

    def _run(self, sql: str, args: tuple[Any, ...]) -> "psycopg.Cursor[_Row]":
        cursor = psycopg.RawCursor(self._connection, row_factory=_rows)
        cursor.adapters.register_loader("jsonb", TextLoader)  # asyncpg gives JSON as text
        cursor.adapters.register_loader("timestamptz", _InstantLoader)
        cursor.execute(sql.encode(), [_plain(value) for value in args])
        return cursor

    async def fetch(self, sql: str, *args: Any) -> list[_Row]:
        return self._run(sql, args).fetchall()

    async def fetchrow(self, sql: str, *args: Any) -> _Row | None:
        return self._run(sql, args).fetchone()

    async def fetchval(self, sql: str, *args: Any) -> Any:
        row = self._run(sql, args).fetchone()
        return None if row is None else row[0]

    async def execute(self, sql: str, *args: Any) -> str:
        return self._run(sql, args).statusmessage or ""

    async def copy_to_table(
        self, table: str, *, schema_name: str, columns: Sequence[str], source: bytearray, **options: str
    ) -> None:
        target = sql.SQL("COPY {} ({}) FROM STDIN ({})").format(
            sql.Identifier(schema_name, table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(sql.SQL(f"{name} {value}") for name, value in options.items()),
        )
        with self._connection.cursor() as cursor, cursor.copy(target) as copy:
            copy.write(source)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        with self._connection.transaction():
            yield


def _plain(value: Any) -> Any:
    """Return an array as psycopg takes it: a list; bit strings, which it does not know, as texts, which are cast."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, list) and value and isinstance(value[0], asyncpg.BitString):
        return [bits.as_string().replace(" ", "") for bits in value]
    return value
