"""A task: one item of work, and its shape in JSON."""

from dataclasses import dataclass, field
from enum import StrEnum

from taskflow_learn.errors import JSONValue
from taskflow_learn.structures.linked_list import LinkedList


class Status(StrEnum):
    """How far a task is. A completed task is out of the queue."""

    PENDING = "pending"
    IN_PROGRESS = "in-progress"
    COMPLETED = "completed"


@dataclass(slots=True)
class Task:
    """
    One item of work.

    Args:
        arrival: the number of its creation, which orders tasks of equal priority; not part of the JSON.
        priority: higher is sooner.
    """

    id: str
    arrival: int
    title: str
    created_at: str
    updated_at: str
    description: str = ""
    status: Status = Status.PENDING
    priority: int = 1
    dependencies: LinkedList[str] = field(default_factory=LinkedList)

    def to_json(self) -> dict[str, JSONValue]:
        return {
            "id": self.id,
            "title": self.title,
            "description": self.description,
            "status": self.status,
            "priority": self.priority,
            "dependencies": list(self.dependencies),
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
        }
