"""What a job function is given: the engine's context of its attempt, and a transaction that ends with the job."""

import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, cast

from taskflow.db.pool import CONNECTION_ERRORS, OUTAGE_ERRORS
from taskflow.engine import policy
from taskflow.engine.context import JobContext as EngineContext
from taskflow.engine.job import Claim, JobId, Outcome, State
from taskflow.engine.store import Store
from taskflow.kernel.errors import LeaseLost, Permanent
from taskflow.kernel.json import JSONValue

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    import asyncpg
    import psycopg

IDLE_SPARE_S = 10.0  # an attempt's transaction may be idle for as long as the attempt may run, and a little


class Transactions(Protocol):
    """Where `ctx.transaction()` gets its connections."""

    def transaction_async(self) -> "AbstractAsyncContextManager[asyncpg.Connection[Any]]": ...
    def transaction_thread(self) -> "AbstractContextManager[psycopg.Connection[Any]]": ...


class JobContext:
    """
    What a job function may know of its attempt, and do besides returning a result. Made when the function is called.

    Attributes:
        state: what the app's lifespan yielded.
        met_outage: the database went away beneath the attempt's transaction, or was not there to begin one.
    """

    __slots__ = ("_async", "_began_s", "_inner", "_store", "_sync", "_transactions", "met_outage")

    def __init__(self, inner: EngineContext, transactions: Transactions) -> None:
        self._began_s = time.monotonic()
        self._inner = inner
        self._transactions = transactions
        self._store = Store()
        self.met_outage = False
        self._async: tuple[AsyncExitStack, asyncpg.Connection[Any]] | None = None
        self._sync: tuple[ExitStack, psycopg.Connection[Any]] | None = None

    @property
    def claim(self) -> Claim:
        """The right to run this attempt."""
        return self._inner.claim

    @property
    def job_id(self) -> JobId:
        """The job's id, the same in every attempt: a good key in systems that you call."""
        return self._inner.job_id

    @property
    def attempt(self) -> int:
        """How many times this job has been claimed, this time included."""
        return self._inner.attempt

    @property
    def failures(self) -> int:
        """How many attempts before this one were charged."""
        return self._inner.failures

    @property
    def kind(self) -> str:
        return self._inner.kind

    @property
    def queue(self) -> str:
        return self._inner.queue

    @property
    def headers(self) -> Mapping[str, str]:
        """What the submitter sent along, and the request's id."""
        return self._inner.headers

    @property
    def state(self) -> Any:
        return self._inner.state

    @property
    def cancelled(self) -> bool:
        """Whether the attempt has been told to end; a function in a thread has only this to look at."""
        return self._inner.cancelled

    @property
    def remaining_s(self) -> float:
        """Seconds until this attempt is stopped; not below 0."""
        return self._inner.remaining_s

    def log(self, message: str, level: str = "info") -> None:
        """Write a line to the job's log, seen at `GET /jobs/{id}/logs`. *level*: debug, info, warning or error."""
        self._inner.log(message, level)

    def progress(self, fraction: float, message: str = "") -> None:
        """Report how far the attempt is, from 0 to 1; written at most four times a second, the last report counts."""
        self._inner.progress(fraction, message)

    def transaction(self) -> "AttemptTransaction":
        """
        Lend a connection whose transaction commits together with the job's completion, or not at all.

            async with ctx.transaction() as connection:      # asyncpg; in a sync function `with`, and psycopg
                await connection.execute("UPDATE …")

        The commit comes when the function returns: then job and effects are there, once, or neither is. It is rolled
        back if the block or the function raises, if the attempt is stopped, or if the job was given to another worker
        meanwhile (`LeaseLost`). Entered again in the same attempt, it is the same transaction. If the database goes
        away beneath it, the job runs again a few seconds later and is charged nothing.

        Statements after the block and before the return belong to it too. One that still runs when the attempt is
        stopped may go on in the database for a while, with its locks; it commits only if the attempt could still
        complete the job. The connection is given back when the function returns: a task or thread that outlives it
        must not use it.
        """
        return AttemptTransaction(self)

    # For `attempt`, which runs the function --------------------------------------------------------------------------

    async def open_async(self) -> "asyncpg.Connection[Any]":
        if self._async is None:
            stack = AsyncExitStack()
            try:
                connection = await stack.enter_async_context(self._transactions.transaction_async())
            except OUTAGE_ERRORS:
                self.met_outage = True
                raise
            self._async = stack, connection
            await connection.execute(_IDLE, f"{self.remaining_s + IDLE_SPARE_S:.0f}s")
        return self._async[1]

    def open_sync(self) -> "psycopg.Connection[Any]":
        if self._sync is None:
            stack = ExitStack()
            try:
                connection = stack.enter_context(self._transactions.transaction_thread())
            except OUTAGE_ERRORS:
                self.met_outage = True
                raise
            self._sync = stack, connection
            connection.execute(_IDLE.replace("$1", "%s"), [f"{self.remaining_s + IDLE_SPARE_S:.0f}s"])
        return self._sync[1]

    async def settle_async(self, result: object) -> None:
        """Complete the job and commit, if a transaction is open. Raises LeaseLost, and Permanent for a bad result."""
        if self._async is None:
            return
        query, params = self._store.complete_elsewhere(self._outcome(result))
        won = await self._async[1].fetchval(query.sql, *query.arguments(params))
        if not won:
            raise LeaseLost(f"job {self.job_id} was given to another worker; its transaction is rolled back")
        await self.leave_async(None)

    def settle_sync(self, result: object) -> None:
        if self._sync is None:
            return
        query, params = self._store.complete_elsewhere(self._outcome(result))
        row = self._sync[1].execute(query.written_for("%({name})s").encode(), params).fetchone()
        if row is None or not next(iter(row.values() if isinstance(row, dict) else row)):
            raise LeaseLost(f"job {self.job_id} was given to another worker; its transaction is rolled back")
        self.leave_sync(None)

    async def leave_async(self, error: BaseException | None) -> None:
        """Commit, or with an *error* roll back, if a transaction is open."""
        opened, self._async = self._async, None
        if opened is not None:
            self.met_outage |= _is_gone(opened[1])
            try:
                await _left(opened[0].__aexit__, error)
            except OUTAGE_ERRORS:
                self.met_outage |= error is None  # the commit
                raise

    def leave_sync(self, error: BaseException | None) -> None:
        opened, self._sync = self._sync, None
        if opened is not None:
            self.met_outage |= bool(opened[1].closed)
            trace = error.__traceback__ if error else None
            try:
                opened[0].__exit__(type(error) if error else None, error, trace)
            except Exception:
                self.met_outage |= error is None and bool(opened[1].closed)  # the commit
                raise

    def _outcome(self, result: object) -> Outcome:
        elapsed_s = time.monotonic() - self._began_s
        outcome = policy.succeeded(
            self.claim, cast("JSONValue", result), elapsed_s
        )  # which says itself what is no JSON
        if outcome.state is not State.COMPLETED:
            raise Permanent(outcome.error.message if outcome.error else "the result cannot be stored")
        return outcome


_IDLE = "SELECT set_config('idle_in_transaction_session_timeout', $1, true)"


def _is_gone(connection: "asyncpg.Connection[Any]") -> bool:
    try:
        return connection.is_closed()
    except CONNECTION_ERRORS:  # the pool has taken it away from us already
        return True


async def _left(leave: Callable[..., Any], error: BaseException | None) -> None:
    await leave(type(error) if error else None, error, error.__traceback__ if error else None)


class AttemptTransaction:
    """`async with` it for an asyncpg connection, `with` it for a psycopg one. See `JobContext.transaction`."""

    def __init__(self, context: JobContext) -> None:
        self._context = context

    async def __aenter__(self) -> "asyncpg.Connection[Any]":
        return await self._context.open_async()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            await self._context.leave_async(error)

    def __enter__(self) -> "psycopg.Connection[Any]":
        return self._context.open_sync()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._context.leave_sync(error)
