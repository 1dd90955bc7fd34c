"""One place where errors become answers."""

import traceback
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
    except Refusal as refusal:
        error = {"code": refusal.code, "message": str(refusal), "requestId": request_id}
        if refusal.details is not None:
            error["details"] = refusal.details
        return STATUS[refusal.code], {"error": error}
    except Exception:
        log(f"{request_id} {traceback.format_exc()}")
        return 500, {"error": {"code": "INTERNAL_ERROR", "message": "Internal server error", "requestId": request_id}}
