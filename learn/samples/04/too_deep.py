"""The six lines die on a chain: each call waits for the next, and Python allows about a thousand that wait."""

waits_for = {number: [number - 1] if number else [] for number in range(100_000)}  # 99,999 -> 99,998 -> ... -> 0
done: set[int] = set()
deepest = 0


def visit(task: int, depth: int = 1) -> None:
    global deepest
    deepest = max(deepest, depth)
    if task not in done:
        for other in waits_for[task]:
            visit(other, depth + 1)
        done.add(task)


try:
    visit(99_999)
except RecursionError as error:
    print("RecursionError:", error, f"- it came {deepest} calls deep, of 100000")
