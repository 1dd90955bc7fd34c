"""The API in a test: the whole application on the test's database, keys for it, and jobs in any state."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest

from taskflow.adapters.mail import Delivered, Mail
from taskflow.apps.http import create_app
from taskflow.db.pool import Database
from taskflow.engine import policy
from taskflow.engine.job import DEFAULT_NAMESPACE, Claim, JobError, OutcomeKind, WorkerId
from taskflow.engine.registry import JobContext, Registry
from taskflow.engine.store import Store
from taskflow.handlers import email
from taskflow.http.drain import Drain
from taskflow.http.edge import ASGIApp
from taskflow.identity.apikeys import service
from taskflow.identity.apikeys.service import ApiKeys

SECRET = b"a root secret of a test, 32 bytes long at least"
ORIGIN = "http://testserver"
BRIEF_KEY_S = 0.1  # see `brief_keys`
MAIL: dict[str, Any] = {
    "taskType": "send_email",
    "payload": {"to": "ada@example.com", "subject": "Hi", "body": "Hello."},
}


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """The payload of a kind that an application would bring."""

    number: int
    note: str | None = None


class NoMail:
    """Takes every mail and sends none: these tests run no handler."""

    async def send(self, mail: Mail) -> Delivered:
        raise AssertionError("no handler runs here")


class Api:
    """One application and what tests need around it."""

    def __init__(self, app: ASGIApp, database: Database, drain: Drain) -> None:
        self.app = app
        self.drain = drain
        self.database = database
        self.store = Store()
        self._keys = ApiKeys(database)
        self._worker: WorkerId | None = None

    async def key(
        self,
        *scopes: str,
        namespace: UUID = DEFAULT_NAMESPACE,
        lifetime: timedelta | None = None,
    ) -> str:
        """Make a key with *scopes*, by default the owner's."""
        async with self.database.transaction() as connection:
            _, plain = await self._keys.create(
                namespace=namespace,
                name="test",
                scopes=scopes or ("owner", "operator"),
                lifetime=lifetime,
                connection=connection,
            )
        return plain

    def client(self, key: str | None = None, *, address: str = "127.0.0.1", **headers: str) -> httpx.AsyncClient:
        """Return a client that sends *key*."""
        transport = httpx.ASGITransport(self.app, client=(address, 40000))
        given = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers={**given, **headers})

    async def publish(self, registry: Registry | None = None) -> None:
        """Make kinds known, as a starting worker does: by default the built-in ones and `order`."""
        if registry is None:
            registry = Registry()
            email.register(registry, NoMail(), retries=3, timeout_s=30.0)

            @registry.job("order", payload=Order, queue="orders", retries=1, timeout_s=5.0)
            async def order(_ctx: JobContext, _payload: Order) -> None:
                raise AssertionError("no handler runs here")

        async with self.database.acquire() as connection:
            await self.store.publish_kinds(connection, registry.published)

    async def claim(self, limit: int = 1, *, queues: Sequence[str] = ("builtin", "orders")) -> list[Claim]:
        """Claim jobs, as a worker does."""
        async with self.database.acquire() as connection:
            if self._worker is None:
                self._worker = WorkerId(uuid4())
                await self.store.register_worker(
                    connection, worker_id=self._worker, host="test", pid=1, queues=list(queues), concurrency=1
                )
            return await self.store.claim(
                connection,
                worker_id=self._worker,
                incarnation=1,
                queues=list(queues),
                kinds=["send_email", "order"],
                limit=limit,
            )

    async def complete(self, claim: Claim, result: Any) -> None:
        async with self.database.acquire() as connection:
            assert await self.store.complete(connection, [policy.succeeded(claim, result, 0.01)]) == []

    async def fail(self, claim: Claim, message: str = "boom", *, for_good: bool = False) -> None:
        """End an attempt with an error: with retries left it waits for the next."""
        error = JobError("RuntimeError", message, "Traceback …")
        outcome = (
            policy.failed_for_good(claim, error, 0.01)
            if for_good
            else policy.failed(claim, OutcomeKind.ERROR, error, 0.01)
        )
        async with self.database.acquire() as connection:
            assert await self.store.finish(connection, [outcome]) == []


@pytest.fixture
def brief_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no process go on for long with a key that was revoked."""
    monkeypatch.setattr(service, "CACHE_S", BRIEF_KEY_S)


@asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[None]:
    """Run the application's lifespan, as a server does."""
    to_app: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    from_app: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
    task = asyncio.ensure_future(app({"type": "lifespan", "asgi": {"version": "3.0"}}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    assert (await from_app.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        assert (await from_app.get())["type"] == "lifespan.shutdown.complete"
        await task


@asynccontextmanager
async def make_api(url: str, **options: Any) -> AsyncIterator[Api]:
    """Run an application of its own on the database at *url*."""
    database = Database(url, max_size=8, application_name="test api", patience_s=0.2)
    drain = Drain()
    app = create_app(database, **{"secret": SECRET, "development": True, "drain": drain, **options})
    async with running(app):
        yield Api(app, database, drain)


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """The application in development mode, with the kinds published."""
    async with make_api(database_url) as api:
        await api.publish()
        yield api


@pytest.fixture
async def client(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """A client with an owner's key."""
    async with api.client(await api.key()) as client:
        yield client


async def until(check: Callable[[], Awaitable[object]], *, timeout_s: float = 5.0) -> None:
    """Return when *check* gives something true: for what another session or process does in its own time."""
    async with asyncio.timeout(timeout_s):
        while True:
            if await check():
                return
            await asyncio.sleep(0.01)


def check_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Assert that *response* is a complete problem and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code, problem
    assert problem["type"] == f"urn:taskflow:problem:{code}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == response.request.url.path
    assert problem["requestId"] == response.headers["x-request-id"]
    return problem


def pointers(problem: Mapping[str, Any]) -> dict[str, str]:
    """Return pointer → code of a problem's errors."""
    return {error["pointer"]: error["code"] for error in problem["errors"]}
