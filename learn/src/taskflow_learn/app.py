"""
The application: a request in, an answer out. Nothing here knows about sockets.

Every error, foreseen or not, becomes an answer in one place, with the id under which the log tells the rest.
"""

import re
import traceback
from uuid import uuid4

from taskflow_learn.clock import timestamp
from taskflow_learn.errors import Code, JSONValue, Refusal
from taskflow_learn.http.request import Request
from taskflow_learn.http.response import Response, json_response
from taskflow_learn.http.router import Router
from taskflow_learn.middleware import ChainRefusal
from taskflow_learn.routes import demo, reports, socket, system, tasks
from taskflow_learn.services import Services

_TOKEN = re.compile(r"(?<=[?&]token=)[^&]*")


class App:
    """Routes, errors and the log of both."""

    def __init__(self, services: Services) -> None:
        self._log = services.log
        self._memory = services.memory
        self._router = Router()
        for module in (tasks, reports, system, demo, socket):
            module.register(self._router, services)

    async def respond(self, request: Request) -> Response:
        self._log.info(
            "Request received",
            requestId=request.id,
            method=request.method,
            url=_without_token(request.target),
            userAgent=request.headers.get("user-agent"),
        )
        try:
            return await self._router.find(request)(request)
        except Refusal as refusal:
            self._log.debug("Request refused", requestId=request.id, code=refusal.code.name, reason=refusal.message)
            return _error_response(refusal, request.id)
        except Exception as error:  # noqa: BLE001 - the edge: one broken handler must not end the server
            self._log.error("Unexpected error", requestId=request.id, error=repr(error), stack=traceback.format_exc())
            # What went wrong is for our log. The caller gets the id, by which we find it there.
            return _error_response(Refusal(Code.INTERNAL_ERROR, "Internal server error"), request.id)

    def refuse(self, refusal: Refusal) -> tuple[str, Response]:
        """Answer bytes that never became a request."""
        request_id = str(uuid4())
        self._log.warn(
            "Malformed request",
            requestId=request_id,
            statusCode=refusal.status,
            code=refusal.code.name,
            reason=refusal.message,
        )
        return request_id, _error_response(refusal, request_id)

    def stream_broke(self, request_id: str, error: Exception) -> None:
        stack = "".join(traceback.format_exception(error))
        self._log.error("Stream broke", requestId=request_id, error=repr(error), stack=stack)

    def sent(self, request: Request, response: Response, duration_ms: float) -> None:
        log = self._log.warn if response.status >= 400 else self._log.info
        log("Response sent", requestId=request.id, statusCode=response.status, responseTimeMs=round(duration_ms, 3))
        self._memory.remember_request(request.method, request.path, response.status)


def _error_response(refusal: Refusal, request_id: str) -> Response:
    if isinstance(refusal, ChainRefusal):
        return json_response({"error": refusal.message}, refusal.status, refusal.headers)
    error: dict[str, JSONValue] = {
        "code": refusal.code.name,
        "message": refusal.message,
        "requestId": request_id,
        "timestamp": timestamp(),
    }
    if refusal.details is not None:
        error["details"] = refusal.details
    return json_response({"error": error}, refusal.status, refusal.headers)


def _without_token(url: str) -> str:
    """A log is read by more people than may know a token."""
    return _TOKEN.sub("***", url)
