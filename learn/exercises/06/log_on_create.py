"""
Log what happened, when it has happened.

`create` stores a task. Make it write exactly one line to the log for each task that was created:

    {"level": "INFO", "message": "Task operation",
     "requestId": ..., "operation": "create", "taskId": ..., "status": ...}

(Here it is broken in two for reading; in the log it is one.)

`write` takes a string and adds it to the log as it is; a line ends in a line break. A task that was refused was not
created, and gets no line. Titles and descriptions are what people write, and never go into the log.
"""

import json
from collections.abc import Callable

tasks: dict[str, dict[str, str]] = {}


def create(task: dict[str, str], request_id: str, write: Callable[[str], object]) -> str:
    """Store *task* and return its id. Raise ValueError if it has no title."""
    task_id = f"task-{len(tasks) + 1}"
    write("creating " + json.dumps(task))
    if not task.get("title"):
        raise ValueError("title is required")
    tasks[task_id] = {"status": "pending", **task}
    return task_id
