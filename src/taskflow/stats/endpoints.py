"""The route of statistics."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskflow.http import operation
from taskflow.http.body import read_query
from taskflow.http.idempotency import Answer
from taskflow.http.operation import ALIAS_PREFIX, PREFIX, Operation, below
from taskflow.identity.access import Permission
from taskflow.identity.guard import Guard
from taskflow.stats.schemas import ReadStats, StatsView
from taskflow.stats.service import Stats

_encode = msgspec.json.Encoder().encode


class StatEndpoints:
    """Handlers of the routes that `operations` lists."""

    def __init__(self, stats: Stats, guard: Guard) -> None:
        self._stats = stats
        self._guard = guard

    async def read(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_JOBS)
        view = await self._stats.read(principal, read_query(request, ReadStats))
        return Answer(200, _encode(view)).response()


_LATENCY = {"p50": 41.2, "p95": 180.0, "p99": 420.5}
_WAIT = {"p50": 2.1, "p95": 9.7, "p99": 31.0}
_ENDED = {"completed": 118, "failed": 2, "cancelled": 1}
_GROUP = {"ended": _ENDED, "successRate": 0.983333, "run": _LATENCY, "wait": _WAIT}
_EXAMPLE: Mapping[str, Any] = {
    "at": "2026-11-23T09:30:00Z",
    "windowFrom": "2026-11-23T08:00:00Z",
    "windowTo": "2026-11-23T10:00:00Z",
    "states": {"pending": 3, "scheduled": 1, "retrying": 0, "active": 2, **_ENDED},
    "capped": [],
    "successRate": 0.983333,
    "run": _LATENCY,
    "wait": _WAIT,
    "live": [{"queue": "builtin", "pending": 3, "scheduled": 1, "retrying": 0, "active": 2}],
    "queues": [{"name": "builtin", **_GROUP}],
    "taskTypes": [{"name": "send_email", **_GROUP}],
    "period": "hour",
    "series": [
        {"at": "2026-11-23T08:00:00Z", "completed": 80, "failed": 2, "cancelled": 0},
        {"at": "2026-11-23T09:00:00Z", "completed": 38, "failed": 0, "cancelled": 1},
    ],
    "workers": {"active": 1, "concurrency": 10},
    "uptime": {"api": 86400000, "workers": 86399000},
}


def operations(endpoints: StatEndpoints) -> Iterator[Operation]:
    """Yield the route, also under the alias without a version."""
    for prefix in (PREFIX, ALIAS_PREFIX):
        yield below(
            prefix,
            "GET",
            "/stats",
            endpoints.read,
            name="readStats",
            summary="Read statistics",
            description="Of the key's namespace, over whole hours; the last seven days unless asked otherwise.",
            tag="statistics",
            query=ReadStats,
            answers={200: operation.Answer("The numbers.", StatsView, _EXAMPLE)},
            scope="jobs:read",
        )
