"""
The API as an ASGI application, its parts put together: `create_app`, which runs under any server. `apps.api` is the
process that serves it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import taskflow
from taskflow.adapters.blobs import DatabaseBlobs
from taskflow.datasets import endpoints as datasets_endpoints
from taskflow.datasets.service import Datasets
from taskflow.db.listen import Listener
from taskflow.db.pool import Database
from taskflow.engine.client import Engine
from taskflow.engine.notifier import WAKE_CHANNEL
from taskflow.engine.remote import RemoteWorkers
from taskflow.engine.schedules import Schedules as EngineSchedules
from taskflow.engine.statistics import Statistics
from taskflow.files import endpoints as files_endpoints
from taskflow.files.link import Links
from taskflow.files.service import Files
from taskflow.http import health, problem
from taskflow.http.docs import add_docs
from taskflow.http.drain import Drain
from taskflow.http.edge import ASGIApp, Edge
from taskflow.http.idempotency import HEADER, REPLAYED_HEADER, Idempotency
from taskflow.http.limits import RateLimits
from taskflow.http.operation import add_operations
from taskflow.http.paging import Cursors
from taskflow.http.secret import RootSecret
from taskflow.identity.access import Access, Permission
from taskflow.identity.apikeys.service import ApiKeys
from taskflow.identity.guard import Guard
from taskflow.jobs import bulk_endpoints as jobs_bulk
from taskflow.jobs import changes as jobs_changes
from taskflow.jobs import endpoints as jobs_endpoints
from taskflow.jobs import queue_endpoints as jobs_queues
from taskflow.jobs import stream_endpoints
from taskflow.jobs.catalogue import Catalogue
from taskflow.jobs.following import LogFollowing
from taskflow.jobs.log_events import LogEvents
from taskflow.jobs.remote import endpoints as remote_endpoints
from taskflow.jobs.remote.bell import Bell
from taskflow.jobs.remote.service import RemoteWork
from taskflow.jobs.remote.token import Tokens
from taskflow.jobs.service import Jobs
from taskflow.jobs.streams import SubmitStreams
from taskflow.jobs.writes import Writes
from taskflow.schedules import endpoints as schedules_endpoints
from taskflow.schedules.service import Schedules
from taskflow.stats import endpoints as stats_endpoints
from taskflow.stats.service import Stats
from taskflow.telemetry.log import get_logger
from taskflow.webhooks import endpoints as webhooks_endpoints
from taskflow.webhooks.service import Deliveries

CORS_MAX_AGE_S = 600
DESCRIPTION = (
    "One durable place for work, done by people and by machines. Errors are Problem Details (RFC 9457) with a stable "
    "`code`; instants are UTC; durations are milliseconds; unknown fields are refused; where a JSON object names a key "
    "twice, the last one counts."
)
TAGS = [
    {"name": "jobs", "description": "Background work: submit it, look at it, cancel it, run it again."},
    {"name": "queues", "description": "For operators: pause, drain and limit queues."},
    {"name": "webhooks", "description": "Callbacks: what was delivered, what was not, and how it is signed."},
    {"name": "schedules", "description": "Jobs that are submitted again and again, at times that a rule gives."},
    {"name": "statistics", "description": "How many jobs are where, how they ended, and how long they took."},
    {"name": "files", "description": "What jobs read and make: upload it, download it, hand on a link to it."},
    {"name": "datasets", "description": "Rows that jobs of the kind `sync` keep of URLs."},
    {"name": "workers", "description": "For workers in any language: claim jobs, run them, say what became of them."},
    {"name": "operations", "description": "For those who run TaskFlow."},
]

_log = get_logger(__name__)


def create_app(
    database: Database,
    *,
    secret: bytes,
    development: bool = False,
    cors_origins: Sequence[str] = (),
    public_url: str | None = None,
    limits: RateLimits | None = None,
    drain: Drain | None = None,
) -> ASGIApp:
    """
    Build the API on *database*, which the application's lifespan opens and closes.

    Args:
        secret: the deployment's root secret, 32 bytes or more; the same in every API process.
        development: allow `forceFail`, and callbacks to this machine itself.
        cors_origins: web origins whose pages may call the API; `*` for all.
        public_url: origin of links; None takes that of the request which asks for one.
        limits: of requests; by default there are none.
        drain: begins when the server wants to stop: answers that go on for long end then.
    """
    drain = drain or Drain()
    engine = Engine(database)
    once = Idempotency(database)
    guard = Guard(Access(ApiKeys(database)), limits or RateLimits())
    catalogue = Catalogue(engine)
    jobs = Jobs(engine, catalogue, development=development)
    schedules = Schedules(EngineSchedules(database), jobs)
    files = Files(database, DatabaseBlobs(database))
    root = RootSecret(secret)
    cursors = Cursors(root)
    writes = Writes(once)
    streams = SubmitStreams(database, jobs)
    deliveries = Deliveries(database, engine, root)
    datasets = Datasets(database)
    following = LogFollowing(engine)
    bell = Bell()
    work = RemoteWork(RemoteWorkers(database, engine), catalogue, Tokens(root), bell)
    listener = Listener(database.url, {WAKE_CHANNEL: bell.ring}, application_name="taskflow api listener")

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await database.start()
        await engine.start()
        services = [
            asyncio.create_task(once.run(), name="taskflow-idempotency"),
            asyncio.create_task(files.run(), name="taskflow-files"),
            asyncio.create_task(streams.run(), name="taskflow-streams"),
            asyncio.create_task(following.run(), name="taskflow-following"),
            asyncio.create_task(listener.run(), name="taskflow-listener"),
        ]
        _log.info("taskflow.api.start", version=taskflow.__version__, development=development)
        try:
            yield
        finally:
            _log.info("taskflow.api.stop")
            for service in services:
                service.cancel()
                with suppress(asyncio.CancelledError):
                    await service
            await engine.stop()
            await database.stop()

    app = FastAPI(
        title="TaskFlow",
        version=taskflow.__version__,
        summary="Jobs, workflows and tasks on PostgreSQL.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours are in `telemetry`; these cost
        lifespan=lifespan,
        exception_handlers=problem.handlers(),  # type: ignore[arg-type]  # its type knows no subclasses
    )
    add_operations(
        app,
        [
            *jobs_bulk.operations(jobs_bulk.BulkEndpoints(database, engine, guard, writes)),
            *jobs_changes.operations(jobs_changes.ChangeEndpoints(jobs, guard, writes)),
            *jobs_endpoints.operations(
                jobs_endpoints.JobEndpoints(jobs, guard, writes, cursors, LogEvents(engine, following, guard, drain))
            ),
            *jobs_queues.operations(jobs_queues.QueueEndpoints(engine, guard, writes, cursors)),
            *webhooks_endpoints.operations(webhooks_endpoints.DeliveryEndpoints(deliveries, guard, writes, cursors)),
            *schedules_endpoints.operations(
                schedules_endpoints.ScheduleEndpoints(schedules, database, guard, once, cursors)
            ),
            *stats_endpoints.operations(stats_endpoints.StatEndpoints(Stats(Statistics(database)), guard)),
            *files_endpoints.operations(
                files_endpoints.FileEndpoints(files, guard, once, cursors, Links(root), public_url=public_url)
            ),
            *stream_endpoints.operations(stream_endpoints.StreamEndpoints(streams, guard, drain)),
            *datasets_endpoints.operations(datasets_endpoints.DatasetEndpoints(datasets, guard, cursors)),
            *remote_endpoints.operations(remote_endpoints.RemoteEndpoints(work, guard, drain)),
            *health.operations(
                health.HealthEndpoints(database, engine, lambda request: guard.admit(request, Permission.OPERATE))
            ),
        ],
    )
    add_docs(app)
    return Edge(_with_cors(app, cors_origins) if cors_origins else app)


def _with_cors(app: FastAPI, origins: Sequence[str]) -> ASGIApp:
    """Let pages of *origins* call *app*, and read what its answers say."""
    return CORSMiddleware(
        app,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "If-None-Match",
            "Range",
            "X-API-Key",
            "X-Request-Id",
            "traceparent",
            "tracestate",
            HEADER,
        ],
        expose_headers=[
            "Content-Disposition",
            "Content-Range",
            "ETag",
            "Location",
            "Link",
            "RateLimit",
            "RateLimit-Policy",
            "Retry-After",
            "X-Request-Id",
            REPLAYED_HEADER,
        ],
        max_age=CORS_MAX_AGE_S,
    )
