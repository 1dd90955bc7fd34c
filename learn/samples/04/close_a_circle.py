"""Make three tasks on a running server, each waiting for the one before; then make the first wait for the last."""

import http.client
import json
import sys
from typing import Any

connection = http.client.HTTPConnection(sys.argv[1] if len(sys.argv) > 1 else "localhost:3000", timeout=5)


def call(method: str, path: str, data: object = None) -> dict[str, Any]:
    connection.request(method, path, json.dumps(data), {"Authorization": "Bearer secret-admin-123"})
    answer: dict[str, Any] = json.loads(connection.getresponse().read())
    return answer


titles: dict[str, str] = {}  # id to title
for title in ("write", "build", "test"):
    titles[call("POST", "/tasks", {"title": title, "dependencies": [*titles][-1:]})["id"]] = title
first, _, last = titles
print(*(task["title"] for task in call("GET", f"/tasks/{last}/resolve")["orderedTasks"]))
print("PUT:", call("PUT", f"/tasks/{first}", {"dependencies": [last]})["status"])
error = call("GET", "/tasks/resolve")["error"]
print("resolve:", error["code"], error["message"])
print("circle:", *(titles[task_id] for task_id in error["details"]["cyclePath"]))
