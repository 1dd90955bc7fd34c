"""Types that several payloads share, with patterns for who checks by the schema: formats are not enforced there."""

from datetime import datetime
from typing import Annotated, TypeAlias
from uuid import UUID

from msgspec import Meta

_END = r"(?![\s\S])"
_DATE = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"

FileId: TypeAlias = Annotated[
    UUID,
    Meta(
        description="An id of a file, such as 019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11.",
        extra_json_schema={"pattern": rf"^[0-9a-fA-F]{{8}}(-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}{_END}"},
    ),
]
Instant: TypeAlias = Annotated[
    datetime,
    Meta(
        tz=True,
        description="An instant with a time zone, such as 2026-11-23T09:30:00Z.",
        extra_json_schema={"pattern": rf"^{_DATE}T{_TIME}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]){_END}"},
    ),
]
