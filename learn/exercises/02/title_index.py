"""
A second way to find a task.

A dict finds a task by its id. Somebody now wants the tasks with a certain title, and walking over all of them is too
slow. Keep a second dict, from a title to the ids of the tasks that have it. Such a dict is called an index.

Finding gets fast, and every write gets a little slower, because both dicts must always tell the same story. That is
what every index costs, also in a database.

Titles are compared without regard to case ("Write" and "write" are the same). Ids come back in the order of creation.
"""


class Tasks:
    def __init__(self) -> None:
        self.titles: dict[str, str] = {}  # id → title

    def create(self, task_id: str, title: str) -> None:
        """Raise ValueError if the id is taken."""
        self.titles[task_id] = title

    def rename(self, task_id: str, title: str) -> None:
        self.titles[task_id] = title

    def delete(self, task_id: str) -> None:
        del self.titles[task_id]

    def find(self, title: str) -> list[str]:
        """Return the ids of the tasks that have this title."""
        return [task_id for task_id, known in self.titles.items() if known == title]
