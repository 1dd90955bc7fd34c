"""A job: one computation and what became of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import uuid4

from taskflow_learn.clock import timestamp
from taskflow_learn.errors import JSONValue


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Job:
    """
    One computation.

    Args:
        payload: what the worker gets, made when the job starts: fifty queued copies of all tasks would fill the memory.
        shown: what the record shows as its input.
    """

    kind: str
    payload: Callable[[], JSONValue]
    shown: JSONValue
    id: str = field(default_factory=lambda: str(uuid4()))
    status: JobStatus = JobStatus.QUEUED
    created_at: str = field(default_factory=timestamp)
    started_at: str | None = None
    finished_at: str | None = None
    output: JSONValue = None
    error: str | None = None

    def start(self) -> None:
        self.status = JobStatus.RUNNING
        self.started_at = timestamp()

    def finish(self, output: JSONValue, error: str | None) -> None:
        self.status = JobStatus.COMPLETED if error is None else JobStatus.FAILED
        self.output, self.error = output, error
        self.finished_at = timestamp()

    def to_json(self) -> dict[str, JSONValue]:
        return {
            "jobId": self.id,
            "status": self.status,
            "createdAt": self.created_at,
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
            "input": self.shown,
            "output": self.output,
            "error": self.error,
        }
