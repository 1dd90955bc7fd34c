"""`sync`: keep a dataset as a URL has it."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

NAME = "sync"
ALIASES = ("SYNC",)

MAX_URL_LENGTH = 2048
MAX_BYTES = 20 * 1024 * 1024  # of what the URL gives
MAX_CALENDAR_BYTES = 2 * 1024 * 1024  # a calendar takes ten times as long to read
MAX_ROWS = 100_000
MAX_ROW_BYTES = 64 * 1024
MAX_KEY_BYTES = 500
MAX_NAME_LENGTH = 100

_END = r"(?![\s\S])"
DATASET_PATTERN = rf"^[a-z0-9][a-z0-9_.-]{{0,{MAX_NAME_LENGTH - 1}}}{_END}"
POINTER_PATTERN = rf"^(/([^/~]|~[01])*)*{_END}"

Format = Literal["json", "ndjson", "csv", "ical"]


class Sync(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Where the rows come from, and which dataset keeps them."""

    url: Annotated[str, Meta(min_length=1, max_length=MAX_URL_LENGTH, description="http or https, publicly reachable.")]
    dataset: Annotated[
        str,
        Meta(
            pattern=DATASET_PATTERN,
            description=f"A name of 1 to {MAX_NAME_LENGTH} characters of a-z 0-9 _ . - that begins with a letter or "
            "digit.",
        ),
    ]
    format: Annotated[
        Format | None, Meta(description="By default as the answer's Content-Type or the URL's ending says.")
    ] = None
    key: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            description="The field by which a row is known again. Of a calendar it is always the event's uid.",
        ),
    ] = "id"
    path: Annotated[
        str,
        Meta(
            pattern=POINTER_PATTERN,
            max_length=500,
            description="A JSON Pointer to the array inside a JSON document, such as /data/items.",
        ),
    ] = ""
    delimiter: Annotated[Literal[",", ";", "\t", "|"], Meta(description="Of CSV.")] = ","
    force_fail: Annotated[bool, Meta(description="Fail on purpose, to see retries at work. Refused in production.")] = (
        False
    )


class Synced(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """
    What the dataset went through.

    Args:
        not_modified: the server said that nothing has changed since the last time.
        version: of the dataset; grows whenever a row does not stay as it is.
    """

    dataset: str
    added: int
    changed: int
    removed: int
    unchanged: int
    not_modified: bool
    version: int
    etag: str | None = None
    last_modified: str | None = None
