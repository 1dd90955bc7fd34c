"""Find a task by its id in a list: the more tasks there are, the longer it takes."""

from time import perf_counter


def find(tasks: list[dict[str, str]], task_id: str) -> dict[str, str] | None:
    for task in tasks:
        if task["id"] == task_id:
            return task
    return None


for size in (1_000, 10_000, 100_000):
    tasks = [{"id": f"task-{number}", "title": "write"} for number in range(size)]
    started = perf_counter()
    for number in range(0, size, size // 10):  # ten lookups, spread over the list
        find(tasks, f"task-{number}")
    print(f"{size:7} tasks: {(perf_counter() - started) / 10 * 1e6:8.1f} us per lookup")  # microseconds
