"""
Named failpoints at every boundary of a statement, without a hook in the product.

All SQL of the engine passes a connection, transactions included, and every statement of its files carries its name. So
a connection that looks at what passes knows each place between two statements: `before claim`, `after settle`,
`before commit`, `after commit`. A statement that writes outside of a transaction is its own commit: it gets one around
it here, so that the moment between its last row and its commit is a place as well.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import asyncpg
from tests.support.waiting import eventually

from taskflow.db.pool import Database, session_settings
from taskflow.db.query import Connection

T = TypeVar("T")
Watch: TypeAlias = Callable[[str], Awaitable[None]]  # told of each place before the connection passes it

AFTER_COMMIT = "after commit"
TERMINATE = "SELECT pg_terminate_backend($1)"
IS_GONE = "SELECT NOT EXISTS (SELECT FROM pg_stat_get_activity($1))"

_NAME = re.compile(r"/\* taskflow:(\w+) \*/")
_WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE)\b")


class SteppedConnection(asyncpg.Connection):
    """A connection that tells *watch* of each place, and goes on when that returns."""

    watch: Watch | None = None

    async def execute(self, query: str, *args: Any, **options: Any) -> str:
        return await self._pass(query, lambda: super(SteppedConnection, self).execute(query, *args, **options))

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        return await self._pass(query, lambda: super(SteppedConnection, self).fetch(query, *args, **options))

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        return await self._pass(query, lambda: super(SteppedConnection, self).fetchrow(query, *args, **options))

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        return await self._pass(query, lambda: super(SteppedConnection, self).fetchval(query, *args, **options))

    async def copy_to_table(self, table_name: str, **options: Any) -> str:
        return await self._pass(
            f"COPY {table_name}",
            lambda: super(SteppedConnection, self).copy_to_table(table_name, **options),
        )

    async def _pass(self, sql: str, run: Callable[[], Awaitable[T]]) -> T:
        if self.watch is None:
            return await run()
        name = name_of(sql)
        await self.watch(f"before {name}")
        if self.is_in_transaction() or name == "begin" or not _WRITES.search(sql):
            result = await run()
            await self.watch(f"after {name}")
            return result
        await super().execute("BEGIN")
        try:
            result = await run()
        except asyncpg.PostgresError:
            await super().execute("ROLLBACK")
            raise
        await self.watch("before commit")
        await super().execute("COMMIT")
        await self.watch(AFTER_COMMIT)
        return result


def name_of(sql: str) -> str:
    """The name that a statement's file gave it; of others, how they begin."""
    found = _NAME.match(sql)
    return found[1] if found else " ".join(sql.lower().rstrip(";").split()[:2]).partition(" __")[0]


async def connect(url: str) -> SteppedConnection:
    """Open a connection that is planned like production's, and that finds a deadlock at once."""
    connection: SteppedConnection = await asyncpg.connect(
        url,
        connection_class=SteppedConnection,
        server_settings={**session_settings("test"), "deadlock_timeout": "20ms"},
    )
    return connection


async def kill(victim: SteppedConnection, observer: Connection) -> None:
    """Let PostgreSQL end the session of *victim*, and wait until both ends know."""
    pid = victim.get_server_pid()
    assert await observer.fetchval(TERMINATE, pid)
    await eventually("our end of the session to know", victim.is_closed)
    await eventually("the session to be gone", lambda: observer.fetchval(IS_GONE, pid))


class Crash:
    """
    A watch that ends the session at the place of that number; None lets it pass them all.

    Args:
        look: what is committed; called at the beginning (by `begin`), and after each commit and the end of the session.
    """

    def __init__(
        self, victim: SteppedConnection, observer: Connection, look: Callable[[], Awaitable[T]], number: int | None
    ) -> None:
        self._victim = victim
        self._observer = observer
        self._look = look
        self._number = number
        self.passed: list[str] = []
        self.commits = 0
        self.seen: list[Any] = []  # by the number of commits, for a session that was not ended
        self.left: Any = None  # by the end of one that was

    async def begin(self) -> None:
        self.seen.append(await self._look())
        self._victim.watch = self

    async def __call__(self, place: str) -> None:
        self.passed.append(place)
        self.commits += place == AFTER_COMMIT
        if len(self.passed) - 1 == self._number:
            self._victim.watch = None
            await kill(self._victim, self._observer)
            self.left = await self._look()
            if place.startswith("after"):  # else the statement itself finds out
                raise asyncpg.ConnectionDoesNotExistError("the answer never came")
        elif place == AFTER_COMMIT and self._number is None:
            self.seen.append(await self._look())


class OneConnection(Database):
    """
    A `Database` whose pool is one connection, for services that want a pool.

    Lost, it is replaced by another one, as the pool does.
    """

    def __init__(self, connection: Connection, spare: Connection | None = None) -> None:
        super().__init__("postgresql://nobody@nowhere/nothing")
        self._connection = connection
        self._spare = spare

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        if self._connection.is_closed() and self._spare is not None:
            self._connection = self._spare
        yield self._connection
