"""How operations on many jobs are shown, and how their filter is read: over HTTP and on the command line."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType
from pydantic import ValidationError

from taskflow.engine.bulk import DRY_RUN_JOBS
from taskflow.engine.job import JobFilter
from taskflow.engine.record import BulkAction, Operation
from taskflow.http.validation import field_errors
from taskflow.jobs.schemas import ChooseJobs, chosen_by
from taskflow.kernel.errors import Invalid
from taskflow.kernel.json import JSONValue

_UNKNOWN = Meta(
    description="In the answer to the request, if there are any: fields of the filter whose name nothing has, no job, "
    "worker, kind or setting. Perhaps it is misspelt."
)


class OperationProgress(msgspec.Struct, frozen=True, rename="camel"):
    """How far an operation has come. How many jobs there are in all is not known before its end."""

    done: Annotated[int, Meta(description="Jobs it was done to.")]
    failed: Annotated[int, Meta(description="Jobs it could not be done to: they had changed meanwhile.")]
    total: Annotated[int | None, Meta(description="Both together, once the operation is over.")]


class OperationView(msgspec.Struct, frozen=True, rename="camel"):
    """Something done to many jobs."""

    operation_id: UUID
    action: BulkAction
    status: Annotated[str, Meta(description="`pending`, `running`, `completed`, or `failed` if it was given up.")]
    filter: dict[str, Any]
    progress: OperationProgress
    created_at: datetime
    finished_at: datetime | None
    unknown: Annotated[list[str] | UnsetType, _UNKNOWN] = UNSET


class BulkCountView(msgspec.Struct, frozen=True, rename="camel"):
    """What a dry run found."""

    action: BulkAction
    filter: dict[str, Any]
    matching: Annotated[int, Meta(description=f"Jobs that it would be done to now, counted up to {DRY_RUN_JOBS:,}.")]
    has_more: Annotated[bool, Meta(description="The count stopped at its bound: there may be more.")]
    unknown: Annotated[list[str] | UnsetType, _UNKNOWN] = UNSET


def view_of_operation(found: Operation, *, abandoned: bool = False) -> OperationView:
    over = found.state == "completed"
    return OperationView(
        operation_id=found.id,
        action=found.action,
        status="failed" if abandoned else found.state,
        filter=said_of(found.chosen),
        progress=OperationProgress(found.done, found.failed, found.done + found.failed if over else None),
        created_at=found.created_at,
        finished_at=found.finished_at,
    )


def said_of(chosen: JobFilter) -> dict[str, Any]:
    """Return a filter as it would be asked for."""
    said = {
        "status": chosen.state,
        "taskType": chosen.kind,
        "queue": chosen.queue,
        "tag": chosen.tag,
        "from": chosen.created_from,
        "to": chosen.created_to,
    }
    return {name: value for name, value in said.items() if value is not None}


def filter_of(data: JSONValue) -> JobFilter:
    """Return the filter that *data* asks for. Raises Invalid."""
    return chosen_by(read_filter(data))


def read_filter(data: JSONValue) -> ChooseJobs:
    """Return what *data* asks for, as it was asked. Raises Invalid."""
    try:
        return ChooseJobs.model_validate(data)
    except ValidationError as error:
        raise Invalid("the filter has invalid fields", errors=field_errors(error)) from None
