"""Count tasks, in all and by status."""


class TaskStore:
    def __init__(self) -> None:
        self._status: dict[str, str] = {}  # task id → status
        self._counts: dict[str, int] = {}  # status → number of tasks, never 0

    def create(self, task_id: str, status: str = "pending") -> None:
        self._status[task_id] = status
        self._add(status, 1)

    def update(self, task_id: str, status: str) -> None:
        self._add(self._status[task_id], -1)
        self._status[task_id] = status
        self._add(status, 1)

    def delete(self, task_id: str) -> None:
        self._add(self._status.pop(task_id), -1)

    def count(self) -> int:
        return len(self._status)

    def count_by_status(self) -> dict[str, int]:
        return dict(self._counts)

    def _add(self, status: str, change: int) -> None:
        count = self._counts.get(status, 0) + change
        if count:
            self._counts[status] = count
        else:
            del self._counts[status]


def count_json(store: TaskStore) -> dict[str, object]:
    return {"count": store.count(), "byStatus": store.count_by_status()}
