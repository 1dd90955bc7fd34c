"""What the files API takes and gives."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from taskflow.files.link import DEFAULT_LIFETIME_S, MAX_LIFETIME_S
from taskflow.files.repository import File
from taskflow.files.service import MAX_RETENTION_DAYS
from taskflow.http.fields import InstantParameter
from taskflow.http.paging import DEFAULT_LIMIT, MAX_LIMIT, MIN_LIMIT
from taskflow.http.validation import field_errors
from taskflow.kernel.errors import FieldError, Invalid


class UploadFields(BaseModel):
    """The short fields beside the file."""

    model_config = ConfigDict(extra="forbid", title="UploadFields")

    expiresAt: InstantParameter = Field(  # noqa: N815
        default=None, description="Delete it then. Not together with `retentionDays`."
    )
    retentionDays: Annotated[int | None, WithJsonSchema({"type": "integer"})] = Field(  # noqa: N815
        default=None, ge=1, le=MAX_RETENTION_DAYS, description="Delete it after so many days; by default it is kept."
    )

    @property
    def retention(self) -> timedelta | None:
        return None if self.retentionDays is None else timedelta(days=self.retentionDays)


FORM_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "The file, with a file name; at most 100 MiB."},
        "expiresAt": {
            "type": "string",
            "format": "date-time",
            "description": "Delete it then. Not together with `retentionDays`.",
        },
        "retentionDays": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_RETENTION_DAYS,
            "description": "Delete it after so many days; by default it is kept.",
        },
    },
    "required": ["file"],
    "additionalProperties": False,
}


class ListFiles(BaseModel):
    """Parameters of the list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=DEFAULT_LIMIT, ge=MIN_LIMIT, le=MAX_LIMIT, description="How many at most.")
    cursor: str | None = Field(default=None, description="`nextCursor` of the page before.")


class ReadContent(BaseModel):
    """Parameters of a signed link."""

    model_config = ConfigDict(extra="forbid")

    expires: str | None = Field(default=None, max_length=20, description="Of a signed link.")
    signature: str | None = Field(default=None, max_length=100, description="Of a signed link.")


class MakeLink(BaseModel):
    """How long a link shall be good."""

    model_config = ConfigDict(extra="forbid", strict=True, title="MakeLink")

    expiresIn: int = Field(  # noqa: N815
        default=DEFAULT_LIFETIME_S * 1000,
        ge=1000,
        le=MAX_LIFETIME_S * 1000,
        description="Milliseconds; a day at most.",
    )


class FileView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A file."""

    id: UUID
    name: Annotated[str, Meta(description="As it was sent, without folders and characters that have no place there.")]
    size: Annotated[int, Meta(description="Bytes.")]
    type: Annotated[str, Meta(description="Media type, found by looking at the content.")]
    sha256: Annotated[str, Meta(description="Of the content, in hexadecimal digits.")]
    job_id: Annotated[UUID | None, Meta(description="The job that made it; null if it was uploaded.")]
    created_at: datetime
    expires_at: Annotated[datetime | None, Meta(description="When it will be deleted; null if it is kept.")]


class FilePageView(msgspec.Struct, frozen=True, rename="camel"):
    """A page of files, newest first."""

    items: list[FileView]
    next_cursor: Annotated[str | None, Meta(description="Where the next page begins; null on the last.")]


class LinkView(msgspec.Struct, frozen=True, rename="camel"):
    """A signed link."""

    url: Annotated[str, Meta(description="GET it without a key.")]
    expires_at: datetime


def view_of_file(file: File) -> FileView:
    return FileView(
        id=file.id,
        name=file.name,
        size=file.size,
        type=file.type,
        sha256=file.sha256.hex(),
        job_id=file.job_id,
        created_at=file.created_at,
        expires_at=file.expires_at,
    )


def read_fields(fields: Mapping[str, str]) -> UploadFields:
    """Return the fields of an upload. Raises Invalid, naming every one that is wrong."""
    try:
        parsed = UploadFields.model_validate(fields)
    except ValidationError as error:
        raise Invalid("the upload has invalid fields", errors=field_errors(error)) from None
    if parsed.expiresAt is not None and parsed.retentionDays is not None:
        detail = "is given together with retentionDays; one of them is enough"
        raise Invalid("the upload has invalid fields", errors=[FieldError("/expiresAt", "exclusive", detail)])
    return parsed
