"""The application object: `app = TaskFlow()`."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload
from uuid import UUID

import msgspec

from taskflow.apps.sdk import attempt, carrier, models
from taskflow.apps.sdk.arguments import Arguments
from taskflow.apps.sdk.context import JobContext
from taskflow.apps.sdk.database import AppDatabase
from taskflow.apps.sdk.function import JobFunction, Priority, priority_of
from taskflow.apps.sdk.handle import Handle, Remarks
from taskflow.engine.client import Engine
from taskflow.engine.job import (
    DEFAULT_NAMESPACE,
    DEFAULT_QUEUE,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_S,
    MAX_BATCH,
    Cancellation,
    Enqueued,
    Job,
    JobId,
    NewJob,
)
from taskflow.engine.notifier import CANCEL_CHANNEL, WAKE_CHANNEL, send
from taskflow.engine.policy import Backoff, check_job_of_many, check_new_job, default_backoff
from taskflow.engine.record import Hindrance
from taskflow.engine.registry import Isolation, Registry
from taskflow.engine.trace import Send
from taskflow.kernel.errors import FieldError, Invalid, SetupError, Unavailable
from taskflow.kinds import RESERVED
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.tracing import active_here

if TYPE_CHECKING:
    import asyncpg
    import psycopg

_log = get_logger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
H = TypeVar("H", bound=Callable[..., Any])

MAX_MANY = 100_000  # jobs in one enqueue_many

BeforeEnqueue = Callable[[NewJob], NewJob | None]
AfterEnqueue = Callable[[NewJob, UUID], None]
Lifespan = Callable[[], AbstractAsyncContextManager[Mapping[str, Any]]]


class JobDecorator(Protocol):
    """What `app.job(…)` returns: the four shapes that a job function may have."""

    @overload
    def __call__(self, function: Callable[Concatenate[JobContext, P], Awaitable[R]], /) -> JobFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[JobContext, P], R], /) -> JobFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> JobFunction[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> JobFunction[P, R]: ...


class TaskFlow:
    """
    An application's jobs, and the way to submit them. Making one connects to nothing.

    The database is found at the first use: *url*, else `TASKFLOW_DATABASE_URL`, else that of a `taskflow up` which
    runs on *data_dir* (by default the user's data directory).

    Args:
        namespace: whose jobs they are; by default the one that the first API key is for.
    """

    def __init__(
        self, url: str | None = None, *, data_dir: Path | str | None = None, namespace: UUID = DEFAULT_NAMESPACE
    ) -> None:
        self.namespace = namespace
        self.registry = Registry()
        self.database = AppDatabase(url, None if data_dir is None else Path(data_dir))
        self._jobs: dict[str, JobFunction[..., Any]] = {}
        self._hooks = attempt.AttemptHooks()
        self._before_enqueue: list[BeforeEnqueue] = []
        self._after_enqueue: list[AfterEnqueue] = []
        self._lifespan: Lifespan | None = None
        self.remarks = Remarks()
        self._open: dict[int, set[str]] = {}  # queues to wake after the commit of a transaction of ours, by connection

    # Declaring ------------------------------------------------------------------------------------------------------

    def job(
        self,
        kind: str | None = None,
        *,
        queue: str = DEFAULT_QUEUE,
        priority: Priority = "normal",
        retries: int = DEFAULT_RETRIES,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        backoff: Backoff = default_backoff,
        isolation: Isolation | None = None,
        memory_limit_mb: int | None = None,
        cpu_limit_s: int | None = None,
    ) -> JobDecorator:
        """
        Make a function a job. Its arguments are typed; the first may be a `JobContext`.

        Args:
            kind: the name of such jobs, which stays when the function is renamed; by default the function's name.
            retries: attempts after the first that failed or timed out.
            timeout_s: seconds that one attempt may run.
            backoff: failures so far → seconds to wait before the next attempt.
            isolation: where it runs: asyncio (async functions, the default), thread, or process (the default of sync
                functions).
            memory_limit_mb, cpu_limit_s: of one attempt in a process.

        Raises:
            TypeError: an argument has no type, or one that JSON cannot carry.
            ValueError: the kind is there already or built in, or a limit is out of range.
        """

        def declare(function: Callable[..., Any]) -> JobFunction[..., Any]:
            name = function.__name__ if kind is None else kind
            if name in RESERVED:
                raise ValueError(f'{name!r} is the name of a built-in kind: give the job another, @app.job("…")')
            arguments = Arguments(name, function)
            made: JobFunction[..., Any] = JobFunction(
                self,
                function,
                arguments,
                kind=name,
                queue=queue,
                priority=priority_of(priority),
                retries=retries,
                timeout_s=timeout_s,
            )
            _check_defaults(made)
            self.registry.job(
                name,
                payload=arguments.payload_type,
                schema=models.schema_of(arguments.payload_type),
                decode=msgspec.json.Decoder(arguments.payload_type, dec_hook=models.read).decode,
                queue=queue,
                priority=made.priority,
                retries=retries,
                timeout_s=timeout_s,
                backoff=backoff,
                isolation=isolation,
                memory_limit_mb=memory_limit_mb,
                cpu_limit_s=cpu_limit_s,
            )(attempt.make_handler(function, arguments, self._hooks, self))
            self._jobs[name] = made
            return made

        return cast("JobDecorator", declare)

    def lifespan(
        self, opens: Callable[[], AsyncIterator[Mapping[str, Any]]]
    ) -> Callable[[], AsyncIterator[Mapping[str, Any]]]:
        """
        Open what attempts share: an async generator function that yields it once, as a mapping; found at `ctx.state`.

        It runs in each worker process, around all of its attempts.
        """
        if self._lifespan is not None:
            raise ValueError("the app has a lifespan already")
        if not inspect.isasyncgenfunction(opens):
            raise TypeError("a lifespan is an async function that yields once")
        self._lifespan = asynccontextmanager(opens)
        return opens

    def before_attempt(self, hook: H) -> H:
        """Call *hook(ctx)* before each attempt; what it raises ends the attempt as if the function had raised it."""
        self._hooks.before.append(hook)
        return hook

    def after_attempt(self, hook: H) -> H:
        """Call *hook(ctx, error)* after each attempt, the last registered first; *error* is None if it succeeded."""
        self._hooks.after.append(hook)
        return hook

    def before_enqueue(self, hook: H) -> H:
        """Call *hook(job)* before each submit; it may return another `NewJob`, or raise to refuse."""
        self._before_enqueue.append(_plain(hook))
        return hook

    def after_enqueue(self, hook: H) -> H:
        """
        Call *hook(job, job_id)* after each submit, the last registered first.

        In a transaction of the caller's, which may yet roll back, what it raises is raised; else the job is stored, and
        it is logged.
        """
        self._after_enqueue.append(_plain(hook))
        return hook

    @property
    def jobs(self) -> Mapping[str, JobFunction[..., Any]]:
        """The app's jobs by kind."""
        return self._jobs

    def transaction_async(self) -> "AbstractAsyncContextManager[asyncpg.Connection[Any]]":
        """Lend a connection for `ctx.transaction()`."""
        return self.database.transaction_async()

    def transaction_thread(self) -> "AbstractContextManager[psycopg.Connection[Any]]":
        """Lend a connection for `ctx.transaction()` in a plain function."""
        return self.database.transaction_sync()

    def open_state(self) -> AbstractAsyncContextManager[Mapping[str, Any]]:
        """Run the app's lifespan and close the app's connections after it. For workers."""

        @asynccontextmanager
        async def opened() -> AsyncIterator[Mapping[str, Any]]:
            try:
                if self._lifespan is None:
                    yield {}
                else:
                    async with self._lifespan() as state:
                        yield state
            finally:
                await self.database.close()

        return opened()

    def check(self) -> None:
        """Raise SetupError for what a worker could not run."""
        if not self._jobs:
            raise SetupError("the app has no jobs; declare one with @app.job")
        sync = next((name for name in self._jobs if not self.registry[name].is_async), None)
        hook = self._hooks.first_async()
        if sync is not None and hook is not None:
            raise SetupError(
                f"job {sync!r} is a plain function and cannot await the hook {hook.__name__!r}: "
                "make the hook a plain function, or the job async"
            )

    # Submitting and looking -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def transaction(self) -> "AsyncIterator[asyncpg.Connection[Any]]":
        """
        Lend an asyncpg connection of the app's database in a transaction; pass it on as `connection=`.

        Workers are woken at once after the commit. An error rolls back, jobs included.
        """
        here = await self.database.here()
        async with here.guests.transaction() as connection:
            with self._collecting(connection) as queues:
                yield cast("asyncpg.Connection[Any]", connection)
        here.engine.wake(queues)

    @contextmanager
    def transaction_sync(self) -> "Iterator[psycopg.Connection[Any]]":
        """As `transaction`, with a psycopg connection."""
        with self.database.transaction_sync() as connection, self._collecting(connection) as queues:
            yield connection
        self._wake_sync(queues)

    def handle(self, job_id: UUID | str) -> Handle[Any]:
        """Return a handle for a job submitted before."""
        return Handle(self, job_id if isinstance(job_id, UUID) else UUID(job_id))

    async def close(self) -> None:
        """Close the connections of this event loop; the next use opens them again. A loop that ends does it itself."""
        await self.database.close()

    def close_sync(self) -> None:
        """Close the connections that threads have left; the next use opens them again."""
        self.database.close_sync()

    async def __aenter__(self) -> "TaskFlow":
        await self.database.here()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get_job(self, job_id: JobId) -> Job:
        return await (await self.database.here()).engine.get_job(job_id, namespace=self.namespace)

    async def cancel(self, job_id: JobId) -> Cancellation:
        return await (await self.database.here()).engine.cancel(job_id, namespace=self.namespace)

    def get_job_sync(self, job_id: JobId) -> Job:
        return self.database.run_sync(
            lambda engine, connection: engine.get_job(job_id, namespace=self.namespace, connection=connection),
            instead="result(), job() or status()",
        )

    async def find_hindrance(self, job: Job) -> Hindrance | None:
        return await (await self.database.here()).engine.find_hindrance(job)

    def find_hindrance_sync(self, job: Job) -> Hindrance | None:
        return self.database.run_sync(lambda engine, connection: engine.find_hindrance(job, connection=connection))

    def cancel_sync(self, job_id: JobId) -> Cancellation:
        cancelled = self.database.run_sync(
            lambda engine, connection: engine.cancel(job_id, namespace=self.namespace, connection=connection),
            instead="cancel()",
        )
        if cancelled.requested_at is not None:
            self._notify_sync([(CANCEL_CHANNEL, str(job_id))])
        return cancelled

    async def submit(self, jobs: Sequence[NewJob], connection: object) -> list[carrier.Stored]:
        """Store jobs, all or none, and return their ids and whether they are duplicates; for `enqueue`."""
        late = connection is None and len(jobs) <= MAX_BATCH  # the engine checks while it sends
        jobs = self._hooked(jobs) if late else self._checked(jobs)
        with Send(jobs, active_here()) as send:
            if connection is not None:
                if carrier.announces(connection):
                    with suppress(SetupError):  # who only ever submits in transactions of their own needs no URL
                        await self.database.here()
                stored = await carrier.submit(connection, send.jobs, self._wake_here)
                self._collect(connection, jobs)
            else:
                engine = (await self.database.here()).engine
                stored = [(job.id, job.duplicate) for job in await _store(engine, self.database, send.jobs)]
            ids = [job_id for job_id, _ in stored]
            send.stored_as(ids)
        self._after(jobs, ids, connection)
        return stored

    def submit_sync(self, jobs: Sequence[NewJob], connection: object) -> list[carrier.Stored]:
        jobs = self._checked(jobs)
        with Send(jobs, active_here()) as send:
            if connection is not None:
                stored = carrier.submit_sync(connection, send.jobs, self._wake_after)
                self._collect(connection, jobs)
            else:
                stored = [(job.id, job.duplicate) for job in self.database.submit_sync(send.jobs, self._wake_after)]
            ids = [job_id for job_id, _ in stored]
            send.stored_as(ids)
        self._after(jobs, ids, connection)
        return stored

    # Inside ---------------------------------------------------------------------------------------------------------

    def _hooked(self, jobs: Sequence[NewJob]) -> list[NewJob]:
        if len(jobs) > MAX_MANY:
            detail = f"at most {MAX_MANY} jobs at once, got {len(jobs)}"
            raise Invalid(detail, errors=[FieldError("", "too_many", detail)])
        changed = []
        for job in jobs:
            for hook in self._before_enqueue:
                job = hook(job) or job
            changed.append(job)
        return changed

    def _checked(self, jobs: Sequence[NewJob]) -> list[NewJob]:
        jobs = self._hooked(jobs)
        if len(jobs) == 1:
            check_new_job(jobs[0])
            return jobs
        for place, job in enumerate(jobs):
            check_job_of_many(place, job)
        return jobs

    def _after(self, jobs: Sequence[NewJob], ids: Sequence[UUID], connection: object) -> None:
        """Call the hooks; an error is the caller's only while the caller can still take the submit back."""
        for hook in reversed(self._after_enqueue):
            for job, job_id in zip(jobs, ids, strict=True):
                try:
                    hook(job, job_id)
                except Exception:
                    if connection is not None and carrier.is_in_transaction(connection):
                        raise
                    _log.exception("taskflow.hook.exception", job_id=str(job_id), kind=job.kind)

    @contextmanager
    def _collecting(self, connection: object) -> Iterator[set[str]]:
        queues: set[str] = set()
        self._open[id(connection)] = queues
        try:
            yield queues
        finally:
            del self._open[id(connection)]

    def _collect(self, connection: object, jobs: Sequence[NewJob]) -> None:
        if (queues := self._open.get(id(connection))) is not None:
            queues.update(job.queue for job in jobs)

    def _wake_here(self, jobs: Sequence[NewJob]) -> None:
        here = self.database.here_if_open
        if here is not None:
            here.engine.wake({job.queue for job in jobs})

    def _wake_after(self, jobs: Sequence[NewJob]) -> None:
        self._wake_sync({job.queue for job in jobs})

    def _wake_sync(self, queues: Collection[str]) -> None:
        self._notify_sync([(WAKE_CHANNEL, queue) for queue in queues])

    def _notify_sync(self, notes: Collection[tuple[str, str]]) -> None:
        """Send notifications; one that is lost costs a poll interval."""
        if notes:
            with suppress(Unavailable, SetupError):
                self.database.run_sync(lambda _engine, connection: send(connection, notes))


async def _store(engine: Engine, database: AppDatabase, jobs: Sequence[NewJob]) -> list[Enqueued]:
    if len(jobs) == 1:
        return [await engine.enqueue(jobs[0])]
    if len(jobs) <= MAX_BATCH:
        return await engine.enqueue_many(jobs)
    stored: list[Enqueued] = []
    async with (await database.here()).database.transaction() as connection:
        for start in range(0, len(jobs), MAX_BATCH):
            stored += await engine.enqueue_many(jobs[start : start + MAX_BATCH], connection=connection, checked=True)
    engine.wake({job.queue for job in jobs})
    return stored


def _check_defaults(function: JobFunction[..., Any]) -> None:
    """Raise ValueError for a name or a limit that no job could have."""
    job = NewJob(
        function.kind,
        {},
        queue=function.queue,
        priority=function.priority,
        retries=function.retries,
        timeout_s=function.timeout_s,
    )
    try:
        check_new_job(job)
    except Invalid as error:
        words = "; ".join(f"{_NAMES.get(e.pointer, e.pointer[1:])} {e.detail}" for e in error.errors)
        raise ValueError(f"job {function.kind!r}: {words}") from None


_NAMES = {"/taskType": "kind", "/timeout": "timeout_s"}


def _plain(hook: H) -> H:
    if inspect.iscoroutinefunction(hook):
        raise TypeError(f"hook {hook.__name__!r} must be a plain function: submits need no event loop")
    return hook
