"""
Where tasks are: in this process, and gone with it.

Three structures, each for one question:

    _tasks        dict      "the task with this id?"          O(1)
    _queue        max-heap  "what is next?"                   O(1) to look, O(log N) to change
    _dependents   dict      "who waits for this one?"         O(1) to ask, so a delete does not walk all the others

Every write changes all three or none: what can be refused is checked before the first change. No lock is needed,
because no method awaits, and on an event loop only an `await` lets others run. The product keeps the same three in
PostgreSQL, where a restart loses nothing and many processes may write at once.
"""

from collections.abc import Iterable
from itertools import count
from uuid import uuid4

from taskflow_learn.clock import timestamp
from taskflow_learn.errors import Code, Refusal
from taskflow_learn.structures.heap import MaxHeap
from taskflow_learn.structures.linked_list import LinkedList
from taskflow_learn.structures.resolver import Resolution, resolve
from taskflow_learn.tasks.model import Status, Task
from taskflow_learn.tasks.validation import TaskFields


class TaskStore:
    """All tasks, in the order of their creation and in the order of their urgency."""

    def __init__(self, *, limit: int = 200_000) -> None:
        self._limit = limit
        self._tasks: dict[str, Task] = {}
        self._queue = MaxHeap()
        self._dependents: dict[str, set[str]] = {}
        self._arrivals = count(1)

    def create(self, fields: TaskFields) -> Task:
        """Add a task. Raise `Refusal` when full, or when a dependency does not exist."""
        if len(self._tasks) >= self._limit:
            raise Refusal(
                Code.SERVICE_UNAVAILABLE, f"the store holds {self._limit} tasks, its limit", {"max": self._limit}
            )
        dependencies = fields.get("dependencies", [])
        self._check_dependencies(None, dependencies)
        now = timestamp()
        task = Task(
            id=str(uuid4()),
            arrival=next(self._arrivals),
            title=fields["title"],
            description=fields.get("description", ""),
            status=fields.get("status", Status.PENDING),
            priority=fields.get("priority", 1),
            dependencies=LinkedList(dependencies),
            created_at=now,
            updated_at=now,
        )
        self._tasks[task.id] = task
        self._link(task)
        self._enqueue(task)
        return task

    def get(self, task_id: str) -> Task:
        task = self._tasks.get(task_id)
        if task is None:
            raise Refusal(Code.TASK_NOT_FOUND, "Task not found", {"taskId": task_id[:80]})
        return task

    def update(self, task_id: str, changes: TaskFields) -> Task:
        """Merge *changes* into a task and give it its new place in the queue."""
        task = self.get(task_id)
        if "dependencies" in changes:
            self._check_dependencies(task_id, changes["dependencies"])
            self._unlink(task)
            task.dependencies = LinkedList(changes["dependencies"])
            self._link(task)
        task.title = changes.get("title", task.title)
        task.description = changes.get("description", task.description)
        task.status = changes.get("status", task.status)
        task.priority = changes.get("priority", task.priority)
        task.updated_at = timestamp()
        self._queue.remove(task_id)
        self._enqueue(task)
        return task

    def delete(self, task_id: str) -> None:
        """Remove a task, and its id from the lists of those that waited for it."""
        task = self.get(task_id)
        for dependent in self._dependents.pop(task_id, ()):
            self._tasks[dependent].dependencies.remove(task_id)
            self._tasks[dependent].updated_at = timestamp()
        self._unlink(task)
        self._queue.remove(task_id)
        del self._tasks[task_id]

    def dequeue(self) -> Task | None:
        """Take the most urgent task out of the queue and out of the store."""
        task = self.next()
        if task is not None:
            self.delete(task.id)
        return task

    def next(self) -> Task | None:
        """Return the most urgent task that is not completed, and leave it in the queue."""
        key = self._queue.peek()
        return None if key is None else self._tasks[key]

    def queue(self) -> list[Task]:
        """Return the queued tasks as the heap's array has them: only the first place says something about order."""
        return [self._tasks[key] for key in self._queue.keys()]  # noqa: SIM118 - the method of a heap, not of a dict

    def all(self) -> list[Task]:
        """
        Return all tasks in the order of their creation.

        A list of references, 8 bytes each: whoever streams it over many awaits may not walk the dictionary itself, as
        a write in between would change its size under the iterator.
        """
        return [*self._tasks.values()]

    def resolve(self, task_id: str | None = None) -> Resolution:
        """Order all tasks, or one and what it needs, dependencies first."""
        roots: Iterable[str] = self._tasks if task_id is None else [self.get(task_id).id]
        return resolve(roots, self._dependencies_of)

    def __len__(self) -> int:
        return len(self._tasks)

    def _dependencies_of(self, task_id: str) -> Iterable[str] | None:
        task = self._tasks.get(task_id)
        return None if task is None else task.dependencies

    def _check_dependencies(self, task_id: str | None, dependencies: list[str]) -> None:
        for dependency in dependencies:
            if dependency == task_id:
                raise Refusal(
                    Code.VALIDATION_ERROR,
                    "dependencies names the task itself",
                    {"field": "dependencies", "taskId": dependency},
                )
            if dependency not in self._tasks:
                raise Refusal(
                    Code.VALIDATION_ERROR,
                    f"dependencies names {dependency}, which does not exist",
                    {"field": "dependencies", "missingTaskId": dependency},
                )

    def _enqueue(self, task: Task) -> None:
        if task.status is not Status.COMPLETED:
            self._queue.push(task.id, task.priority, task.arrival)

    def _link(self, task: Task) -> None:
        for dependency in task.dependencies:
            self._dependents.setdefault(dependency, set()).add(task.id)

    def _unlink(self, task: Task) -> None:
        for dependency in task.dependencies:
            self._dependents.get(dependency, set()).discard(task.id)
