"""
Where an app's jobs are: one engine and pool per event loop that uses the app, and one for threads.

Found at the first use, in this order: the URL given to `TaskFlow`, `TASKFLOW_DATABASE_URL`, the database of a
`taskflow up` that runs on the data directory. An event loop that ends takes its connections along: a task that waits
for nothing but its cancellation closes them. psycopg is loaded by the first use without an event loop.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakKeyDictionary

from taskflow.apps.data_dir import DataDirectory
from taskflow.apps.settings import Settings
from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.client import Engine
from taskflow.engine.job import MAX_BATCH, Enqueued, NewJob
from taskflow.engine.store import Store
from taskflow.kernel.errors import SetupError

if TYPE_CHECKING:
    import asyncpg
    import psycopg

    from taskflow.apps.sdk.threads import ThreadDatabase

T = TypeVar("T")

POOL_SIZE = 10


def find_url(url: str | None, data_dir: Path | None) -> str:
    """Return the URL of the app's database. Raises SetupError, saying what there is to do."""
    if url is not None:
        return url
    settings = Settings.from_env(data_dir=data_dir)
    return settings.database_url or DataDirectory(settings.data_dir).get_database_url()


def check_blocking(instead: str) -> None:
    """Raise RuntimeError if an event loop runs in this thread: to wait here would stop all that runs on it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(f"this would block the event loop of this thread: await {instead}, or call it in a thread")


class AppDatabase:
    """See the module. Making one connects to nothing."""

    def __init__(self, url: str | None, data_dir: Path | None) -> None:
        if url is not None and not url.startswith(("postgresql://", "postgres://")):
            raise SetupError("the database URL must start with postgresql://")
        self._given = url
        self.data_dir = data_dir
        self._found: str | None = None
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopDatabase] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._threads: ThreadDatabase | None = None
        self._guests: ThreadDatabase | None = None
        self._engine = Engine(Database(""))  # for threads: it is always given a connection, and opens none

    @property
    def given(self) -> str | None:
        """The URL that the app was made with."""
        return self._given

    def use(self, url: str) -> None:
        """Use this database, whatever the app was made with: its worker has found it."""
        self._given = self._found = url

    def url(self) -> str:
        if self._found is None:
            self._found = find_url(self._given, self.data_dir)
        return self._found

    async def here(self) -> "_LoopDatabase":
        """Return the engine and pools of the running event loop."""
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            found = self._loops[loop] = _LoopDatabase(self.url())
        await found.start()
        return found

    @property
    def here_if_open(self) -> "_LoopDatabase | None":
        return self._loops.get(asyncio.get_running_loop())

    @property
    def threads(self) -> "ThreadDatabase":
        """The engine's connections of code without an event loop."""
        from taskflow.apps.sdk.threads import ThreadDatabase

        with self._lock:
            if self._threads is None:
                self._threads = ThreadDatabase(self.url())
            return self._threads

    @property
    def guests(self) -> "ThreadDatabase":
        """Connections for the app's own statements, in code without an event loop."""
        from taskflow.apps.sdk.threads import ThreadDatabase

        with self._lock:
            if self._guests is None:
                self._guests = ThreadDatabase(self.url(), for_guests=True)
            return self._guests

    @asynccontextmanager
    async def transaction_async(self) -> "AsyncIterator[asyncpg.Connection[Any]]":
        async with (await self.here()).guests.transaction() as connection:
            yield cast("asyncpg.Connection[Any]", connection)

    @contextmanager
    def transaction_sync(self) -> "Iterator[psycopg.Connection[Any]]":
        with self.guests.transaction() as connection:
            yield connection

    def run_sync(self, ask: Callable[[Engine, Connection], Coroutine[Any, Any, T]], *, instead: str | None = None) -> T:
        """
        Ask the engine something over a connection of the calling thread.

        Args:
            instead: what is to be awaited where an event loop runs; None lets this block one, for a moment.

        Raises:
            RuntimeError: an event loop runs in this thread.
            Unavailable: the database is away or late.
            SetupError: no database is known.
        """
        from taskflow.apps.sdk.threads import run_now

        if instead is not None:
            check_blocking(instead)
        with self.threads.statements() as connection:
            return run_now(ask(self._engine, connection))

    def submit_sync(self, jobs: Sequence[NewJob], wake: Callable[[Sequence[NewJob]], None]) -> list[Enqueued]:
        """
        Store jobs, checked before, in a transaction of their own; partitions that nobody made are made first.

        Args:
            wake: called after the commit with jobs whose workers do not know of them yet.
        """
        check_blocking("enqueue()")
        import psycopg

        try:
            return self._submit_sync(jobs, wake)
        except psycopg.errors.CheckViolation as error:
            if error.diag.constraint_name is not None:
                raise
        self.run_sync(lambda _engine, connection: Store().make_partitions(connection, days=1))
        return self._submit_sync(jobs, wake)

    def _submit_sync(self, jobs: Sequence[NewJob], wake: Callable[[Sequence[NewJob]], None]) -> list[Enqueued]:
        if len(jobs) == 1:
            woken = self.run_sync(lambda engine, connection: engine.enqueue_and_wake(jobs[0], connection=connection))
            if woken is not None:
                return [woken]
        stored = self._store_sync(jobs)
        wake(jobs)
        return stored

    def _store_sync(self, jobs: Sequence[NewJob]) -> list[Enqueued]:
        from taskflow.apps.sdk.threads import run_now

        async def store(engine: Engine, connection: Connection) -> list[Enqueued]:
            stored: list[Enqueued] = []
            for start in range(0, len(jobs), MAX_BATCH):
                part = jobs[start : start + MAX_BATCH]
                stored += await engine.enqueue_many(part, connection=connection, checked=True)
            return stored

        if len(jobs) <= MAX_BATCH:
            return self.run_sync(store)
        with self.threads.statements(in_transaction=True) as connection:
            return run_now(store(self._engine, connection))

    async def close(self) -> None:
        """Close the running event loop's connections and those of threads; the next use opens them again."""
        found = self._loops.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found.stop()
        self.close_sync()

    def close_sync(self) -> None:
        for database in (self._threads, self._guests):
            if database is not None:
                database.close()


class _LoopDatabase:
    """What one event loop has open."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, max_size=POOL_SIZE, application_name="taskflow-app")
        self.guests = Database(url, max_size=POOL_SIZE, application_name="taskflow-app", for_guests=True)
        self.engine = Engine(self.database)
        self._keeper: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        if self._keeper is not None:
            return
        async with self._starting:
            if self._keeper is None:
                await self.engine.start()
                self._keeper = asyncio.create_task(self._keep(), name="taskflow-app")

    async def stop(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])

    async def _keep(self) -> None:
        """Close everything when the loop ends, which cancels its tasks, or when told to."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await self.engine.stop()
            await self.database.stop()
            await self.guests.stop()
