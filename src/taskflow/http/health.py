"""
How this process and what it needs are doing: `/live`, `/ready`, `/health` for machines that watch, `/metrics`.

The first three need no key, so they show little and ask the database at most once per `FRESH_S`, however often they
are called.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta
from prometheus_client.metrics_core import Metric
from starlette.requests import Request
from starlette.responses import Response

import taskflow
from taskflow.db.migrate import Fit, Schema, read_schema
from taskflow.db.pool import DATABASE_ERRORS, Database
from taskflow.engine.client import Engine
from taskflow.http import operation
from taskflow.http.call import Call
from taskflow.http.operation import Operation
from taskflow.telemetry import metrics

FRESH_S = 1.0
CHECK_TIMEOUT_S = 2.0
MAX_DEPTHS = 1000  # queue and kind pairs shown in metrics

SchemaFit: TypeAlias = Literal["current", "newer", "outdated", "too_new", "unknown"]

_SHOWN: Mapping[Fit, SchemaFit] = {
    Fit.MISSING: "outdated",
    Fit.OUTDATED: "outdated",
    Fit.CURRENT: "current",
    Fit.NEWER: "newer",
    Fit.TOO_NEW: "too_new",
}


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Health(msgspec.Struct, frozen=True, rename="camel"):
    """The process, and what it needs."""

    status: Annotated[Literal["ok", "down"], Meta(description="`ok` if work can be taken on.")]
    version: str
    uptime_seconds: Annotated[int, Meta(description="Of the process that answers.")]
    database: Literal["up", "down"]
    schema: Annotated[
        SchemaFit,
        Meta(
            description="`outdated`: run `taskflow migrate`. `newer`: migrated by a newer version, and fit for this "
            "one. `too_new`: fit for newer versions only. `unknown` while the database is away."
        ),
    ]
    workers_alive: Annotated[int | None, Meta(description="Null while the database is away.")]


class HealthEndpoints:
    """
    See the module.

    Args:
        check_operator: raises unless the request's key may see metrics.
    """

    def __init__(
        self, database: Database, engine: Engine, check_operator: Callable[[Request], Awaitable[object]]
    ) -> None:
        self._database = database
        self._engine = engine
        self._check_operator = check_operator
        self._started = time.monotonic()
        self._looking = asyncio.Lock()
        self._seen: tuple[float, Health] | None = None

    async def live(self, _request: Request) -> Response:
        return _answer(200, Live())

    async def health(self, _request: Request) -> Response:
        health = await self._look()
        return _answer(200 if health.status == "ok" else 503, health)

    async def metrics(self, request: Request) -> Response:
        if not _is_local(request):
            await self._check_operator(request)
        return Response(metrics.exposition(await self._database_metrics()), media_type=metrics.CONTENT_TYPE)

    async def _look(self) -> Health:
        async with self._looking:
            if self._seen is not None and time.monotonic() - self._seen[0] < FRESH_S:
                return self._seen[1]
            database: Literal["up", "down"] = "down"
            schema: Schema | None = None
            workers = None
            try:
                async with asyncio.timeout(CHECK_TIMEOUT_S):
                    async with self._database.acquire() as connection:
                        schema = await read_schema(connection)
                    database = "up"
                    if schema.fits:
                        workers = sum(worker.alive for worker in await self._engine.list_workers())
            except DATABASE_ERRORS:
                pass
            health = Health(
                status="ok" if schema is not None and schema.fits else "down",
                version=taskflow.__version__,
                uptime_seconds=int(time.monotonic() - self._started),
                database=database,
                schema="unknown" if schema is None else _SHOWN[schema.fit],
                workers_alive=workers,
            )
            self._seen = time.monotonic(), health
            return health

    async def _database_metrics(self) -> Sequence[Metric]:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                depths = (await self._engine.queue_depths())[:MAX_DEPTHS]
                workers = await self._engine.list_workers()
        except DATABASE_ERRORS:
            return [metrics.gauge("taskflow_database_up", "1 while the database answers.", (), [((), 0)])]
        labels = ("queue", "kind")
        return [
            metrics.gauge("taskflow_database_up", "1 while the database answers.", (), [((), 1)]),
            metrics.gauge(
                "taskflow_workers_alive",
                "Supervisors of workers whose heartbeat is fresh.",
                (),
                [((), sum(worker.alive for worker in workers))],
            ),
            metrics.gauge(
                "taskflow_queue_pending_jobs",
                "Jobs that are due; counted up to a bound.",
                labels,
                [((depth.queue, depth.kind), depth.pending) for depth in depths],
            ),
            metrics.gauge(
                "taskflow_queue_oldest_due_age_seconds",
                "How long the first of them has been due.",
                labels,
                [((depth.queue, depth.kind), depth.oldest_due_age_s) for depth in depths],
            ),
            metrics.gauge(
                "taskflow_queue_has_worker",
                "1 if a live worker can run them.",
                labels,
                [((depth.queue, depth.kind), depth.has_worker) for depth in depths],
            ),
        ]


def operations(endpoints: HealthEndpoints) -> Iterator[Operation]:
    """Yield the routes at the root."""
    yield Operation(
        "GET",
        "/live",
        endpoints.live,
        name="live",
        summary="Is the process alive?",
        tag="operations",
        answers={200: operation.Answer("It answers.", Live, {"status": "ok"})},
    )
    example = {
        "status": "ok",
        "version": taskflow.__version__,
        "uptimeSeconds": 86400,
        "database": "up",
        "schema": "current",
        "workersAlive": 1,
    }
    down = {**example, "status": "down", "database": "down", "schema": "unknown", "workersAlive": None}
    for path, name, summary in (
        ("/ready", "ready", "Can work be taken on?"),
        ("/health", "health", "How are the process and what it needs?"),
    ):
        yield Operation(
            "GET",
            path,
            endpoints.health,
            name=name,
            summary=summary,
            tag="operations",
            answers={
                200: operation.Answer("All is well.", Health, example),
                503: operation.Answer("The database is away, or its schema is not fit for this version.", Health, down),
            },
        )
    yield Operation(
        "GET",
        "/metrics",
        endpoints.metrics,
        name="metrics",
        summary="Metrics for Prometheus",
        description="Of the process that answers, and what the database knows of queues and workers. Needs a key with "
        "the scope `operator`, or a caller on this machine.",
        tag="operations",
        answers={200: operation.Answer("Text format 0.0.4.", None, media_type="text/plain")},
        scope="operator",
    )


def _is_local(request: Request) -> bool:
    """Say whether the caller is on this machine: from loopback, and not by way of a proxy that is."""
    headers = Call.of(request.scope).headers
    if "x-forwarded-for" in headers or "forwarded" in headers or request.client is None:
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _answer(status: int, body: msgspec.Struct) -> Response:
    headers = {"Retry-After": "1"} if status == 503 else {}
    return Response(msgspec.json.encode(body), status_code=status, headers=headers, media_type="application/json")
