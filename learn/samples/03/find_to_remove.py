"""To remove a task that is somewhere in the heap, you have to find it first."""

from time import perf_counter

for size in (1_000, 10_000, 100_000):
    heap = [f"task-{number}" for number in range(size)]
    index_of = {key: index for index, key in enumerate(heap)}  # kept true at every swap: one more write each
    wanted = [f"task-{number}" for number in range(0, size, size // 10)]
    times = []
    for find in (heap.index, index_of.__getitem__):
        started = perf_counter()
        for key in wanted:
            find(key)
        times.append((perf_counter() - started) / len(wanted) * 1e6)
    print(f"{size:7} tasks: by walking {times[0]:7.1f} us, by position index {times[1]:5.2f} us")  # microseconds
