"""One error, two readers: the caller gets an id, the log gets everything under the same id."""

import json
import traceback
from collections.abc import Callable
from uuid import uuid4

log: list[str] = []


def answer(handler: Callable[[], str]) -> str:
    request_id = str(uuid4())[:8]
    try:
        return handler()
    except Exception as error:  # the edge: the only place that catches everything
        log.append(json.dumps({"requestId": request_id, "error": repr(error), "stack": traceback.format_exc()}))
        return json.dumps({"error": {"code": "INTERNAL_ERROR", "requestId": request_id}})


def broken() -> str:
    return "priority" + 1


print("caller:", answer(broken))
print("log:   ", log[0])
