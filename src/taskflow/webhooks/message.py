"""What a receiver is told: the same bytes at every attempt, so that its signature covers what it has seen before."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from taskflow.engine.job import Job
from taskflow.telemetry.log import redacted
from taskflow.webhooks.repository import Delivery

COMPLETED = "job.completed"


class JobEnded(msgspec.Struct, frozen=True, rename="camel"):
    """How a job ended."""

    job_id: UUID
    task_type: str
    status: str
    result: Any
    error: str | None


class Message(msgspec.Struct, frozen=True, rename="camel"):
    """The body of a callback."""

    type: str
    timestamp: datetime
    data: JobEnded


def encode(delivery: Delivery, job: Job) -> bytes:
    """Return the body. A job that has been run again since is told as it was when it ended."""
    return msgspec.json.encode(
        Message(
            type=delivery.event,
            timestamp=delivery.ended_at.astimezone(UTC),
            data=JobEnded(
                job_id=delivery.job_id,
                task_type=delivery.kind,
                status=delivery.event.removeprefix("job."),
                result=job.result if delivery.event == COMPLETED else None,
                error=None if delivery.error is None else redacted(delivery.error),
            ),
        )
    )
