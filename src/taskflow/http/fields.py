"""Fields that requests have in common, whatever they are about: whole numbers, instants, the parameters of a page."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from taskflow.http.paging import DEFAULT_LIMIT, MAX_LIMIT, MIN_LIMIT

_MAX_DIGITS = 18  # of a bigint


def whole(low: int, high: int, *, unit: str = "") -> Callable[[object], int | None]:
    """Return a validator that takes whole numbers from *low* to *high*, and None."""

    def check(value: object) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise PydanticCustomError("wrong_type", "must be a whole number")
        if not low <= value <= high:
            limits = {"low": low, "high": high, "unit": unit}
            raise PydanticCustomError("out_of_range", "must be from {low} to {high}{unit}", limits)
        return value

    return check


def bounded(low: int, high: int, unit: str = "") -> Any:
    """Return the type of a field that takes what `whole` takes."""
    schema = {"type": ["integer", "null"], "minimum": low, "maximum": high}
    return Annotated[int | None, PlainValidator(whole(low, high, unit=unit)), WithJsonSchema(schema)]


def digits(value: object) -> object:
    """Return the number that a query parameter is; what is none comes back as it is."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        return int(value)
    return value


def instant(value: object) -> datetime | None:
    """Return the instant that ISO 8601 text is; None stays None."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
            if at.tzinfo is not None:
                return at.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise PydanticCustomError("instant", "must be an ISO 8601 instant with a time zone, such as 2026-11-23T09:30:00Z")


Instant = Annotated[
    datetime | None, PlainValidator(instant), WithJsonSchema({"type": ["string", "null"], "format": "date-time"})
]
InstantParameter = Annotated[Instant, WithJsonSchema({"type": "string", "format": "date-time"})]  # left out, never null
Limit = Annotated[
    int,
    PlainValidator(lambda value: whole(MIN_LIMIT, MAX_LIMIT)(digits(value))),
    WithJsonSchema({"type": "integer", "minimum": MIN_LIMIT, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
]
Cursor = Annotated[str, WithJsonSchema({"type": "string"})]


class NoQuery(BaseModel):
    """A route without query parameters."""

    model_config = ConfigDict(extra="forbid")


class ListPage(BaseModel):
    """A page of a list, and nothing to choose by."""

    model_config = ConfigDict(extra="forbid")

    limit: Limit = DEFAULT_LIMIT
    cursor: Cursor | None = Field(default=None, description="`nextCursor` of the page before.")
