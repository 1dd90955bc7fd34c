"""What the server says about itself: health for everybody, the rest for those with a token."""

from taskflow_learn.clock import timestamp
from taskflow_learn.http.request import Request
from taskflow_learn.http.response import Response, json_response
from taskflow_learn.http.router import Router
from taskflow_learn.middleware import Authentication, Link, Permission, compose
from taskflow_learn.routes.memory import MemoryHandlers
from taskflow_learn.services import Services
from taskflow_learn.websocket.hub import PATH


def register(router: Router, services: Services) -> None:
    handlers = SystemHandlers(services)
    memory = MemoryHandlers(services)
    guard: list[Link] = [Authentication(services.settings, services.log), Permission(services.log)]
    router.add("GET", "/health", handlers.health)
    router.add("GET", "/tasks/system/memory", compose(guard, memory.stats))
    router.add("GET", "/tasks/system/ws", compose(guard, handlers.sockets))
    router.add("POST", "/tasks/memory/leak", compose(guard, memory.leak))
    router.add("POST", "/tasks/memory/safe", compose(guard, memory.safe))
    router.add("POST", "/tasks/memory/clear", compose(guard, memory.clear))


class SystemHandlers:
    def __init__(self, services: Services) -> None:
        self._hub = services.hub
        self._memory = services.memory

    async def health(self, request: Request) -> Response:
        uptime_s = self._memory.uptime_s
        return json_response(
            {"status": "healthy", "timestamp": timestamp(), "requestId": request.id, "uptimeSeconds": uptime_s}
        )

    async def sockets(self, request: Request) -> Response:
        return json_response(
            {
                "requestId": request.id,
                "path": PATH,
                "connectedClients": len(self._hub),
                "rooms": self._hub.rooms(),
                "uptimeSeconds": self._memory.uptime_s,
            }
        )
