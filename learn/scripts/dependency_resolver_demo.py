#!/usr/bin/env python3
"""
The dependency resolver: A needs B, B needs C; then C needs A, and nothing can be first.

    python3 learn/scripts/dependency_resolver_demo.py
"""

from typing import Any

from demo_console import Api, fail, running_server, say, summary, table, title


def run(api: Api) -> tuple[float, float]:
    """Return how long the resolved order and the refusal took, in milliseconds."""
    title("A → B → C")
    tasks: dict[str, dict[str, Any]] = {}
    for name, needs in (("C", []), ("B", ["C"]), ("A", ["B"]), ("D", [])):
        ids = [tasks[other]["id"] for other in needs]
        tasks[name] = api.post("/tasks", {"title": name, "dependencies": ids})
        say(f"  created {name}, which needs {', '.join(needs) or 'nothing'}")
    names = {task["id"]: name for name, task in tasks.items()}
    try:
        answer = api.ask("GET", f"/tasks/{tasks['A']['id']}/resolve")
        order = [names[task_id] for task_id in answer.data["orderedTaskIds"]]
        say(f"  GET /tasks/A/resolve → {answer.status}: do {', then '.join(order)}")

        title("A circle: C needs A")
        api.put(f"/tasks/{tasks['C']['id']}", {"dependencies": [tasks["A"]["id"]]})
        refused = api.ask("GET", f"/tasks/{tasks['A']['id']}/resolve")
        if refused.status != 409:
            fail(f"a circle must be refused with 409, got {refused.status}")
        path = [names[task_id] for task_id in refused.data["error"]["details"]["cyclePath"]]
        say(f"  GET /tasks/A/resolve → {refused.status} {refused.data['error']['code']}: {' → '.join(path)}")
        unharmed = api.ask("GET", f"/tasks/{tasks['D']['id']}/resolve")
        say(f"  GET /tasks/D/resolve → {unharmed.status}: D has nothing to do with it")

        title("What cannot even be written")
        for label, dependencies in (
            ("itself", [tasks["D"]["id"]]),
            ("a task that is not there", ["11111111-1111-4111-8111-111111111111"]),
            ("the same task twice", [tasks["A"]["id"], tasks["A"]["id"]]),
        ):
            denied = api.ask("PUT", f"/tasks/{tasks['D']['id']}", {"dependencies": dependencies})
            table([(f"D needs {label}", f"{denied.status} {denied.data['error']['message']}")])
    finally:
        for task in tasks.values():
            api.delete(f"/tasks/{task['id']}")
    return answer.duration_ms, refused.duration_ms


def main() -> None:
    with running_server() as api:
        resolved_ms, refused_ms = run(api)
    summary(
        [
            "Dependencies first is a topological order; depth-first search finds it in O(tasks + dependencies).",
            "A circle has no order. The search sees it when it meets a task that is still on its own path.",
            "What is broken is refused; what is not broken is still answered.",
        ],
        [
            ("resolving three tasks, over HTTP", f"{resolved_ms:.1f} ms"),
            ("refusing the circle, over HTTP", f"{refused_ms:.1f} ms"),
        ],
    )


if __name__ == "__main__":
    main()
