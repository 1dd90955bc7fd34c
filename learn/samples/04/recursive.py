"""Topological order in six lines: before a task comes everything that it waits for."""

waits_for = {
    "deploy": ["test"],
    "test": ["build", "write", "data"],
    "build": ["write"],
    "data": ["build", "write"],
    "write": [],
}
order: list[str] = []


def visit(task: str) -> None:
    if task not in order:
        for other in waits_for[task]:
            visit(other)
        order.append(task)  # now, and not before


for task in waits_for:
    visit(task)
print(order)
