"""
Write a resolver that does not give up.

`order_tasks` returns the tasks in an order in which each comes after everything that it waits for. The version below
is the recursive one of the guide. Make it:

- deep: a chain of 100,000 tasks works (a stack of your own in place of recursion);
- honest: a circle raises Circle with the path, first task repeated at the end; a dependency that does not exist raises
  Missing with its name and the name of the task that waits for it;
- fast: no task is looked at twice, and nothing is searched in a list.

Go through the tasks, and through what each waits for, in the order given: then there is exactly one right answer.
"""


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

    def visit(task: str) -> None:
        if task not in order:
            for other in waits_for[task]:
                visit(other)
            order.append(task)

    for task in waits_for:
        visit(task)
    return order
