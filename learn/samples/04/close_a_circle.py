"""Make three tasks on a running server, each waiting for the one before; then make the first wait for the last."""

import http.client
import json
import sys
from typing import Any

connection = http.client.HTTPConnection(sys.argv[1] if len(sys.argv) > 1 else "localhost:3000", timeout=5)


def call(method: str, path: str, data: object = None) -> tuple[int, dict[str, Any]]:
    connection.request(method, path, json.dumps(data), {"Authorization": "Bearer secret-admin-123"})
    response = connection.getresponse()  # read it to the end, then the connection can be used again
    return response.status, json.loads(response.read())


titles: dict[str, str] = {}
for title in ("write", "build", "test"):
    _, task = call("POST", "/tasks", {"title": title, "dependencies": [*titles][-1:]})
    titles[task["id"]] = title
first, _, last = titles
print(*(task["title"] for task in call("GET", f"/tasks/{last}/resolve")[1]["orderedTasks"]))
print("PUT", call("PUT", f"/tasks/{first}", {"dependencies": [last]})[0])
status, answer = call("GET", "/tasks/resolve")
print("resolve", status, answer["error"]["message"])
print("circle:", *(titles[task_id] for task_id in answer["error"]["details"]["cyclePath"]))
