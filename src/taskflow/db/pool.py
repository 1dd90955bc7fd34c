"""
The pool: connections that come back after the server went away.

asyncpg replaces a connection that the server closed, but the next statement still fails while the server is down.
`acquire` waits such an outage out for *patience_s*, then says `Unavailable`; nothing here gives up for good, so a
process never needs a restart because its database had one.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from taskflow.db import hosts
from taskflow.db.query import Connection
from taskflow.kernel.backoff import reconnect_waits_s
from taskflow.kernel.errors import Unavailable
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.metrics import DB_RECONNECTS

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0  # a half-open socket ends here at the latest
IDLE_LIFETIME_S = 300.0
ROLLBACK_PATIENCE_S = 2.0
_IDLE_S = 0.1

T = TypeVar("T")
Lend: TypeAlias = Callable[[], AbstractAsyncContextManager[Connection]]  # `Database.acquire`, or `OwnConnection.use`

# What a connection raises when the server, the network or a failover took it: try again on another one.
CONNECTION_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections: no statement is at fault
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
# The same as seen through `Database`, which gives up with `Unavailable`.
OUTAGE_ERRORS: tuple[type[Exception], ...] = (*CONNECTION_ERRORS, Unavailable)
# Whatever a statement can meet: for loops that must go on.
DATABASE_ERRORS: tuple[type[Exception], ...] = (*OUTAGE_ERRORS, asyncpg.PostgresError)

_log = get_logger(__name__)


class _Session(asyncpg.Connection):
    """A pooled connection without a reset between borrowers: that is a query, and nobody here changes a session."""

    def get_reset_query(self) -> str:
        return ""


class Database:
    """
    A pool of connections to one PostgreSQL (or one cluster, by a multi-host URL).

    Args:
        url: `postgresql://…`; several hosts with `target_session_attrs=read-write` follow a failover (see `hosts`).
        patience_s: how long `acquire` waits for a server that is away before it raises `Unavailable`.
        command_timeout_s: how long a statement may take; None for `COMMAND_TIMEOUT_S`.
        for_guests: connections are lent to code that is not ours: statements are planned as usual, take as long as
            they take, and a session is reset between borrowers.
    """

    def __init__(
        self,
        url: str,
        *,
        min_size: int = 0,
        max_size: int = 10,
        application_name: str = "taskflow",
        patience_s: float = 5.0,
        command_timeout_s: float | None = None,
        for_guests: bool = False,
    ) -> None:
        self.url = url
        self._min_size = min_size
        self._max_size = max_size
        self._application_name = application_name
        self._patience_s = patience_s
        self._command_timeout_s = command_timeout_s
        self._for_guests = for_guests
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    async def start(self) -> None:
        """Open the pool if the server is there; a server that is away is met again at `acquire`."""
        try:
            await self._open()
        except CONNECTION_ERRORS as error:
            _log.warning("taskflow.database.unreachable", error=type(error).__name__)

    async def stop(self) -> None:
        """Close every connection; those still busy after a second are cut."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            await asyncio.wait_for(pool.close(), timeout=1.0)
        except DATABASE_ERRORS:
            pool.terminate()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """
        Lend a connection that was alive a moment ago.

        Raises:
            Unavailable: no connection within *patience_s*. What the body raises is passed on unchanged.
        """
        pool, connection = await self._checkout()
        try:
            yield connection
        finally:
            with suppress(*CONNECTION_ERRORS):  # it died in the body's hands; the pool has dropped it
                await pool.release(connection)  # which shields itself from a cancellation

    @asynccontextmanager
    async def lend(self, connection: Connection | None) -> AsyncIterator[Connection]:
        """Lend the caller's *connection*, or, without one, one of the pool's."""
        if connection is not None:
            yield connection
        else:
            async with self.acquire() as own:
                yield own

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[Connection]:
        """
        Lend a connection inside BEGIN … COMMIT; an error rolls back. *options* as for asyncpg's `transaction`.

        A rollback is given `ROLLBACK_PATIENCE_S`, then the connection is closed: the server may have missed the request
        to cancel a statement that had only just been sent, and would go on with it.
        """
        async with self.acquire() as connection:
            transaction = connection.transaction(**options)
            await transaction.start()
            try:
                yield connection
            except BaseException:
                try:
                    async with asyncio.timeout(ROLLBACK_PATIENCE_S):
                        await transaction.rollback()
                except DATABASE_ERRORS:  # a timeout is one of them
                    with suppress(asyncpg.InterfaceError):  # it had died, and the pool has taken it back
                        connection.terminate()
                raise
            await transaction.commit()

    async def _open(self) -> "asyncpg.Pool[asyncpg.Record]":
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(  # type: ignore[call-overload]  # the stubs' `connect` is narrower
                    self.url,
                    connect=hosts.connect,
                    connection_class=asyncpg.Connection if self._for_guests else _Session,
                    min_size=self._min_size,
                    max_size=self._max_size,
                    max_inactive_connection_lifetime=IDLE_LIFETIME_S,
                    timeout=CONNECT_TIMEOUT_S,
                    command_timeout=self._command_timeout_s or (None if self._for_guests else COMMAND_TIMEOUT_S),
                    server_settings={"application_name": self._application_name}
                    if self._for_guests
                    else session_settings(self._application_name),
                )
            return self._pool

    def own_connection(self) -> "OwnConnection":
        """Return a connection beside the pool, for one user who comes often: a lease costs half a small statement."""
        return OwnConnection(self._connect)

    async def _checkout(self) -> "tuple[asyncpg.Pool[asyncpg.Record], PoolConnectionProxy[asyncpg.Record]]":
        async def lease() -> "tuple[asyncpg.Pool[asyncpg.Record], PoolConnectionProxy[asyncpg.Record]]":
            pool = self._pool or await self._open()
            # With its own timeout asyncpg also bounds the release, and lets the loop see sockets that have closed.
            return pool, await pool.acquire(timeout=CONNECT_TIMEOUT_S)

        return await self._wait_out(lease)

    async def _connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        async def connect() -> "asyncpg.Connection[asyncpg.Record]":
            return await hosts.connect(
                self.url,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=self._command_timeout_s or COMMAND_TIMEOUT_S,
                server_settings=session_settings(self._application_name),
            )

        return await self._wait_out(connect)

    async def _wait_out(self, connect: Callable[[], Awaitable[T]]) -> T:
        """Try to *connect* until it works. Raises Unavailable when it did not within *patience_s*."""
        deadline = time.monotonic() + self._patience_s
        waits_s: Iterator[float] | None = None  # made when first needed: this is on every statement's way
        while True:
            try:
                return await connect()
            except CONNECTION_ERRORS as error:
                DB_RECONNECTS.inc()
                waits_s = waits_s or reconnect_waits_s()
                wait_s = next(waits_s)
                if time.monotonic() + wait_s > deadline:
                    raise Unavailable("the database cannot be reached", retry_after_s=1.0) from error
            await asyncio.sleep(wait_s)


class OwnConnection:
    """
    A connection that its one user keeps between statements; opened when first used, and again when it was lost.

    Whatever ends a use other than by an error of PostgreSQL's own closes it: nobody waits for a statement that nobody
    wants any more, and the next user starts clean.
    """

    def __init__(self, connect: "Callable[[], Awaitable[asyncpg.Connection[asyncpg.Record]]]") -> None:
        self._connect = connect
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._used_at = 0.0

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """
        Lend the connection; never to two at once.

        Raises:
            Unavailable: the server has been away for the patience of the pool. What the body raises is passed on.
        """
        if time.monotonic() - self._used_at > _IDLE_S:
            await asyncio.sleep(0)  # so that the loop sees that the server has closed it meanwhile
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
        try:
            yield self._connection
        except asyncpg.PostgresError:
            raise
        except (TimeoutError, asyncio.CancelledError):
            await self._cancel()
            raise
        except BaseException:
            self.close()
            raise
        finally:
            self._used_at = time.monotonic()

    async def _cancel(self) -> None:
        """
        Close it so that the server ends the statement as well, if it hears of it.

        A commit that waits for a standby does not notice that its client has gone: left alone, such sessions would
        gather until there is room for no other. A claim that waits for a lock would take jobs that nobody runs.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*DATABASE_ERRORS):
                await connection.close(timeout=ROLLBACK_PATIENCE_S)

    def close(self) -> None:
        """Close it at once; a statement on its way fails, and may have happened."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def is_partition_missing(error: Exception) -> bool:
    """Say whether a row was refused because nobody made the partition it belongs to (a broken CHECK has a name)."""
    return isinstance(error, asyncpg.CheckViolationError) and error.constraint_name is None


def session_settings(application_name: str) -> dict[str, str]:
    """
    Return what every session of ours says: who it is, and how its statements are planned.

    Our hot tables empty and fill within a second, so statistics are always wrong about them: left alone, the planner
    now and then sorts a million ready rows to claim one (28 ms against 0.4 ms, measured). Every statement is written
    for one index, named in its header; these settings make the planner take it, and plan once per connection. With a
    price of comparisons, an index would cost more the higher its tree is, and for a table that is empty when it plans,
    the planner would now and then walk through the whole of a lower one that has the column further behind.
    """
    return {
        "application_name": application_name,
        "timezone": "UTC",
        "idle_in_transaction_session_timeout": "60s",
        "jit": "off",
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "cpu_operator_cost": "0",
    }
