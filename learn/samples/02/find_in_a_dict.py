"""The same with a dict: how many there are does not matter."""

from time import perf_counter

for size in (1_000, 10_000, 100_000):
    tasks = {f"task-{number}": {"title": "write"} for number in range(size)}
    wanted = [f"task-{number}" for number in range(0, size, size // 10)] * 100
    started = perf_counter()
    for task_id in wanted:
        tasks.get(task_id)
    print(f"{size:7} tasks: {(perf_counter() - started) / len(wanted) * 1e6:8.3f} us per lookup")  # microseconds
