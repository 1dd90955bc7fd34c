"""Log what happened, when it has happened."""

import json
from collections.abc import Callable

tasks: dict[str, dict[str, str]] = {}


def create(task: dict[str, str], request_id: str, write: Callable[[str], object]) -> str:
    """Store *task* and return its id. Raise ValueError if it has no title."""
    if not task.get("title"):
        raise ValueError("title is required")
    task_id = f"task-{len(tasks) + 1}"
    tasks[task_id] = {"status": "pending", **task}
    event = {
        "level": "INFO",
        "message": "Task operation",
        "requestId": request_id,
        "operation": "create",
        "taskId": task_id,
        "status": tasks[task_id]["status"],
    }
    write(json.dumps(event) + "\n")  # one write per line: lines of two processes cannot mix in the middle
    return task_id
