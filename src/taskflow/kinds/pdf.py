"""`generate_pdf`: a document from Markdown."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from taskflow.kinds.forms import FileId

NAME = "generate_pdf"

MAX_MARKDOWN_LENGTH = 200_000
MAX_TITLE_LENGTH = 200

_END = r"(?![\s\S])"
TITLE_PATTERN = rf"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*{_END}"

PageSize = Literal["a3", "a4", "a5", "letter", "legal"]


class GeneratePdf(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """What to set."""

    markdown: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MAX_MARKDOWN_LENGTH)] | UnsetType,
        Meta(description="CommonMark with tables and ~~strike-through~~. HTML is shown, not obeyed."),
    ] = UNSET
    file: FileId | UnsetType = UNSET  # with the Markdown, in place of it; up to 1 MiB of UTF-8
    title: Annotated[
        Annotated[str, Meta(min_length=1, max_length=MAX_TITLE_LENGTH, pattern=TITLE_PATTERN)] | UnsetType,
        Meta(description="A single line of text: above the first page and in the document's properties."),
    ] = UNSET
    page_size: PageSize = "a4"
    force_fail: Annotated[bool, Meta(description="Fail on purpose, to see retries at work. Refused in production.")] = (
        False
    )

    def __post_init__(self) -> None:
        if (self.markdown is UNSET) == (self.file is UNSET):
            raise ValueError("markdown or file is required, and not both")


# The same as `__post_init__` says, for those who check by the schema.
PAYLOAD: Any = Annotated[
    GeneratePdf,
    Meta(
        extra_json_schema={
            "allOf": [
                {"if": {"not": {"required": ["file"]}}, "then": {"required": ["markdown"]}},
                {"if": {"required": ["file"]}, "then": {"properties": {"markdown": False}}},
            ]
        }
    ),
]


class PdfGenerated(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What came of it. *size* is in bytes."""

    file: UUID
    pages: int
    size: int
