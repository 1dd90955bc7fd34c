"""The memory lessons, once for the two places where they are offered: `/tasks/memory` and `/demo/memory`."""

from taskflow_learn.errors import JSONValue
from taskflow_learn.http.request import Request
from taskflow_learn.http.response import Response, json_response
from taskflow_learn.memory import ENTRY_KB_LIMIT
from taskflow_learn.services import Services

ENTRY_LIMIT = 10_000  # of one call; how many are kept is bounded besides


class MemoryHandlers:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._memory = services.memory

    async def leak(self, request: Request) -> Response:
        """Remember and never forget."""
        self._services.check_lesson("leak")
        self._memory.leak(*_size(request))
        return self._answer(request, "intentional-leak", 201)

    async def safe(self, request: Request) -> Response:
        """Remember the latest only."""
        self._memory.fill_safely(*_size(request))
        return self._answer(request, "bounded-cache", 201)

    async def clear(self, request: Request) -> Response:
        self._memory.clear()
        return self._answer(request, "cleared", 200)

    async def stats(self, request: Request) -> Response:
        return json_response({"requestId": request.id, **self._memory.stats()})

    async def usage(self, request: Request) -> Response:
        """Return what the process uses, what Python knows about it, and how it was in the last hour."""
        return json_response(
            {
                "requestId": request.id,
                "memory": self._memory.usage(),
                "python": self._memory.details(),
                "snapshots": self._memory.snapshots(),
            }
        )

    def _answer(self, request: Request, mode: str, status: int) -> Response:
        data: dict[str, JSONValue] = {"requestId": request.id, "mode": mode, **self._memory.stats()}
        return json_response(data, status)


def _size(request: Request) -> tuple[int, int]:
    return request.query_int("count", 1_000, 1, ENTRY_LIMIT), request.query_int("sizeKb", 8, 1, ENTRY_KB_LIMIT)
