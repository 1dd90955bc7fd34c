"""`resize_image`: a picture at another size."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from taskflow.kinds.forms import FileId

NAME = "resize_image"

MAX_SIDE = 4096

_Side = Annotated[int, Meta(ge=1, le=MAX_SIDE)]


class ResizeImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Which picture, and what it shall become."""

    file: FileId  # with a JPEG, PNG, WebP, AVIF or GIF picture
    width: Annotated[_Side | UnsetType, Meta(description="Of the box, in pixels.")] = UNSET
    height: Annotated[_Side | UnsetType, Meta(description="Of the box, in pixels.")] = UNSET
    fit: Annotated[
        Literal["fit", "cover", "exact"],
        Meta(
            description="`fit`: the largest that goes into the box, and no larger than it was; width or height alone "
            "will do. `cover`: fills the box, what sticks out is cut off. `exact`: stretched to the box."
        ),
    ] = "fit"
    format: Annotated[
        Literal["jpeg", "png", "webp", "avif"] | UnsetType,
        Meta(description="By default that of the file; png for a GIF."),
    ] = UNSET
    quality: Annotated[int, Meta(ge=1, le=100, description="Of jpeg, webp and avif.")] = 80
    force_fail: Annotated[bool, Meta(description="Fail on purpose, to see retries at work. Refused in production.")] = (
        False
    )

    def __post_init__(self) -> None:
        if self.width is UNSET and self.height is UNSET:
            raise ValueError("width or height is required")
        if self.fit != "fit" and (self.width is UNSET or self.height is UNSET):
            raise ValueError(f"{self.fit} needs width and height")


# The same as `__post_init__` says, for those who check by the schema.
PAYLOAD: Any = Annotated[
    ResizeImage,
    Meta(
        extra_json_schema={
            "allOf": [
                {
                    "if": {"not": {"required": ["width"]}},
                    "then": {"required": ["height"], "description": "Width or height is required."},
                },
                {
                    "if": {"properties": {"fit": {"enum": ["cover", "exact"]}}, "required": ["fit"]},
                    "then": {"required": ["width", "height"]},
                },
            ]
        }
    ),
]


class ImageResized(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What came of it. *size* is in bytes."""

    file: UUID
    width: int
    height: int
    format: str
    size: int
