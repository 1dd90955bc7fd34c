"""A second way to find a task."""


class Tasks:
    def __init__(self) -> None:
        self.titles: dict[str, str] = {}  # id → title
        self._numbers: dict[str, int] = {}  # id → when it was created
        self._ids: dict[str, set[str]] = {}  # title in lower case → ids
        self._created = 0

    def create(self, task_id: str, title: str) -> None:
        """Raise ValueError if the id is taken."""
        if task_id in self.titles:
            raise ValueError(f"the id {task_id!r} is taken")
        self._created += 1
        self._numbers[task_id] = self._created
        self._link(task_id, title)

    def rename(self, task_id: str, title: str) -> None:
        self._unlink(task_id)
        self._link(task_id, title)

    def delete(self, task_id: str) -> None:
        self._unlink(task_id)
        del self._numbers[task_id]

    def find(self, title: str) -> list[str]:
        """Return the ids of the tasks that have this title."""
        return sorted(self._ids.get(title.casefold(), ()), key=self._numbers.__getitem__)

    def _link(self, task_id: str, title: str) -> None:
        self.titles[task_id] = title
        self._ids.setdefault(title.casefold(), set()).add(task_id)

    def _unlink(self, task_id: str) -> None:
        title = self.titles.pop(task_id).casefold()
        self._ids[title].remove(task_id)
        if not self._ids[title]:
            del self._ids[title]  # or titles that nobody has would pile up: a leak
