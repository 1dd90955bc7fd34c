"""What the deliveries API takes and gives."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from taskflow.engine.job import OutcomeKind
from taskflow.http.fields import Cursor, Limit
from taskflow.http.paging import DEFAULT_LIMIT
from taskflow.kernel.ids import find_id
from taskflow.telemetry.log import redacted
from taskflow.webhooks.repository import Delivery, DeliveryStatus
from taskflow.webhooks.service import Followed


def _status(value: object) -> DeliveryStatus:
    try:
        return DeliveryStatus(str(value))
    except ValueError:
        known = ", ".join(DeliveryStatus)
        raise PydanticCustomError("unknown_value", "must be one of {known}", {"known": known}) from None


def _id(value: object) -> UUID:
    if (found := find_id(str(value))) is not None:
        return found
    raise PydanticCustomError("wrong_type", "must be a UUID")


class ListDeliveries(BaseModel):
    """How to choose from the deliveries, newest first."""

    model_config = ConfigDict(extra="forbid")

    jobId: Annotated[  # noqa: N815
        UUID | None, PlainValidator(_id), WithJsonSchema({"type": "string", "format": "uuid"})
    ] = Field(default=None, description="Of this job only.")
    status: Annotated[
        DeliveryStatus | None,
        PlainValidator(_status),
        WithJsonSchema({"type": "string", "enum": list(DeliveryStatus)}),
    ] = Field(default=None, description="`failed` are the dead letters.")
    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = Field(default=None, description="`nextCursor` of the page before.")


class ResponseView(msgspec.Struct, frozen=True, rename="camel"):
    """What the receiver said to one attempt."""

    status: int | None
    body: Annotated[str | None, Meta(description="The first 1024 bytes.")]
    fault: Annotated[str | None, Meta(description="Why there is no status.")]
    duration: Annotated[int, Meta(description="Milliseconds.")]
    at: datetime


class DeliveryAttemptView(msgspec.Struct, frozen=True, rename="camel"):
    """One attempt of a delivery."""

    attempt: int
    outcome: Annotated[OutcomeKind | None, Meta(description="Null while it is being written down.")]
    finished_at: datetime | None
    error: str | None
    next_attempt_at: datetime | None
    response: Annotated[ResponseView | None, Meta(description="Null if the worker died before it was kept.")]


class DeliveryView(msgspec.Struct, frozen=True, rename="camel"):
    """One end of a job that is told to its `callbackUrl`."""

    delivery_id: UUID
    job_id: UUID
    task_type: str
    event: str
    status: DeliveryStatus
    created_at: datetime
    settled_at: Annotated[datetime | None, Meta(description="When it was taken or given up.")]
    url: Annotated[str | UnsetType | None, Meta(description="Where it goes; only when looked at alone.")] = UNSET
    next_attempt_at: Annotated[datetime | UnsetType | None, Meta(description="While it waits for one.")] = UNSET
    attempts: Annotated[list[DeliveryAttemptView] | UnsetType, Meta(description="Oldest first.")] = UNSET


class DeliveryPageView(msgspec.Struct, frozen=True, rename="camel"):
    """A page of deliveries, newest first."""

    items: list[DeliveryView]
    next_cursor: Annotated[str | None, Meta(description="Of the next page; null at the end.")]


class SigningSecretView(msgspec.Struct, frozen=True, rename="camel"):
    """What callbacks of this namespace are signed with."""

    secret: str


def view_of_delivery(delivery: Delivery) -> DeliveryView:
    return DeliveryView(
        delivery_id=delivery.id,
        job_id=delivery.job_id,
        task_type=delivery.kind,
        event=delivery.event,
        status=delivery.status,
        created_at=delivery.created_at,
        settled_at=delivery.settled_at,
    )


def view_of_followed(followed: Followed) -> DeliveryView:
    return msgspec.structs.replace(
        view_of_delivery(followed.delivery),
        url=followed.url,
        next_attempt_at=followed.next_attempt_at,
        attempts=_attempts(followed),
    )


def _attempts(followed: Followed) -> list[DeliveryAttemptView]:
    ended = {attempt.attempt: attempt for attempt in followed.attempts}
    met = {response.attempt: response for response in followed.met}
    numbers: Sequence[int] = sorted(ended.keys() | met.keys())
    views = []
    for number in numbers:
        attempt, response = ended.get(number), met.get(number)
        views.append(
            DeliveryAttemptView(
                attempt=number,
                outcome=attempt.outcome if attempt else None,
                finished_at=attempt.finished_at if attempt else None,
                error=redacted(attempt.error.message) if attempt and attempt.error else None,
                next_attempt_at=attempt.retry_at if attempt else None,
                response=None
                if response is None
                else ResponseView(
                    status=response.status,
                    body=response.excerpt,
                    fault=response.fault,
                    duration=response.duration_ms,
                    at=response.at,
                ),
            )
        )
    return views
