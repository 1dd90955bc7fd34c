"""Is anything there twice? The same question with a list and with a set of what was seen."""

from time import perf_counter


def compare_all(values: list[int]) -> bool:
    return any(value in values[:index] for index, value in enumerate(values))  # a loop in a loop, well hidden


def remember(values: list[int]) -> bool:
    seen: set[int] = set()
    for value in values:
        if value in seen:
            return True
        seen.add(value)
    return False


for size in (1_000, 2_000, 4_000):
    times = []
    for function in (compare_all, remember):
        started = perf_counter()
        function([*range(size)])
        times.append((perf_counter() - started) * 1e3)
    print(f"{size:6} values: compare all {times[0]:7.1f} ms, remember {times[1]:5.2f} ms")
