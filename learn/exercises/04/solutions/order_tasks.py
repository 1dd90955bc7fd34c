"""A resolver that does not give up."""

from collections.abc import Iterator


class Circle(Exception):
    """Tasks that wait for each other; `path` begins and ends with the same one."""

    def __init__(self, path: list[str]) -> None:
        super().__init__(" waits for ".join(path))
        self.path = path


class Missing(Exception):
    """`task` does not exist, and `required_by` waits for it."""

    def __init__(self, task: str, required_by: str) -> None:
        super().__init__(f"{required_by} waits for {task}, which does not exist")
        self.task = task
        self.required_by = required_by


def order_tasks(waits_for: dict[str, list[str]]) -> list[str]:
    order: list[str] = []
    seen: set[str] = set()  # grey or black
    grey: set[str] = set()  # on the stack
    for root in waits_for:
        stack: list[tuple[str, Iterator[str]]] = []
        if root not in seen:
            seen.add(root)
            grey.add(root)
            stack.append((root, iter(waits_for[root])))
        while stack:
            task, others = stack[-1]
            other = next(others, None)
            if other is None:
                order.append(task)
                grey.remove(task)
                stack.pop()
            elif other in grey:
                path = [name for name, _ in stack]
                raise Circle([*path[path.index(other) :], other])
            elif other not in waits_for:
                raise Missing(other, task)
            elif other not in seen:
                seen.add(other)
                grey.add(other)
                stack.append((other, iter(waits_for[other])))
    return order
