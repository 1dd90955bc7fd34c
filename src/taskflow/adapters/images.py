"""
Pictures: read with suspicion, made smaller, written clean.

A file that says it is a picture may be made to fill memory (a few kilobytes that unpack to gigabytes) or to reach into
a decoder that few use. So only five formats are opened, by their content; the number of pixels is read from the header
and bounded before a pixel is decoded; and what the decoder takes besides is for the limits of the process to bound
(`memory_limit_mb` of the kinds that come here). Blocking: call it in a thread or a process.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from taskflow.kernel.errors import Permanent

Format: TypeAlias = Literal["jpeg", "png", "webp", "avif"]
Fit: TypeAlias = Literal["fit", "cover", "exact"]

MAX_SOURCE_PIXELS = 50_000_000
MAX_SIDE = 4096  # of what is made
DEFAULT_QUALITY = 80
_READ = ("JPEG", "PNG", "WEBP", "AVIF", "GIF")
_OUT: dict[str, Format] = {"JPEG": "jpeg", "PNG": "png", "WEBP": "webp", "AVIF": "avif", "GIF": "png", "MPO": "jpeg"}
_HEADERS_BYTES = 30  # of WebP, up to the end of the size

# What decoders of broken pictures raise.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    RuntimeError,  # of the AVIF decoder; a recursion too deep is one as well
    struct.error,
    zlib.error,
)

Image.MAX_IMAGE_PIXELS = None  # its limit is twice as high as it says; ours is checked in `_open`
ImageFile.LOAD_TRUNCATED_IMAGES = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as a file."""

    content: bytes
    width: int
    height: int
    format: Format


def resize(
    content: bytes,
    *,
    width: int | None,
    height: int | None,
    fit: Fit = "fit",
    format: Format | None = None,  # noqa: A002 -- as the payload calls it
    quality: int = DEFAULT_QUALITY,
) -> Picture:
    """
    Return *content*, a picture, at another size: upright, in sRGB, its first frame, without metadata.

    Args:
        width, height: of the box, up to `MAX_SIDE`; `fit` needs one of them, the others both.
        fit: `fit` is the largest that goes into the box, never larger than it was; `cover` fills the box and cuts off
            what sticks out, evenly; `exact` is as wide and high as the box, whatever becomes of the proportions.
        format: by default that of *content*; PNG for GIF.
        quality: 1 to 100; PNG has none.

    Raises:
        Permanent: it is no picture of a known format, broken, or too large.
    """
    with _open(content) as image, _decoding():
        kept = format or _OUT[str(image.format)]
        upright = image.getexif().get(0x0112, 1) < 5  # others lie on their side
        box = _box(image.size if upright else image.size[::-1], width, height, fit)
        image.draft(None, box if upright else box[::-1])  # JPEG alone can decode at a half, a quarter, an eighth
        clean = _clean(image, keep_alpha=kept != "jpeg")
    if fit == "cover":
        clean = ImageOps.fit(clean, box, Image.Resampling.LANCZOS)
    elif clean.size != box:
        clean = clean.resize(box, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return Picture(_written(clean, kept, quality), *clean.size, kept)


def normalise(content: bytes, *, max_side: int) -> Picture:
    """Return a picture that any program can show, at most *max_side* wide and high. Raises as `resize` does."""
    with _open(content) as image:
        kept: Format = "jpeg" if image.format in {"JPEG", "MPO"} else "png"
    return resize(content, width=max_side, height=max_side, format=kept)


def _open(content: bytes) -> Image.Image:
    """Open a picture, its header read and no pixel decoded. Raises Permanent."""
    _check_webp(content)
    with _decoding():
        image = Image.open(io.BytesIO(content), formats=_READ)
    _check_size(*image.size)
    return image


@contextmanager
def _decoding() -> Iterator[None]:
    """Tell what decoders raise as Permanent: the same bytes will be as broken the next time."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a decoder would rather not have seen
            yield
    except UnidentifiedImageError:
        raise Permanent("the file is not a JPEG, PNG, WebP, AVIF or GIF picture") from None
    except _BROKEN as error:
        raise Permanent(f"the picture is broken: {_first_line(error)}") from None


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise Permanent("the picture is broken: it has no pixels")
    if width * height > MAX_SOURCE_PIXELS:
        raise Permanent(
            f"the picture has {width} x {height} pixels, over the limit of {MAX_SOURCE_PIXELS // 1_000_000} million"
        )


def _check_webp(content: bytes) -> None:
    """Bound a WebP's size before its library is asked: that one takes memory for the whole canvas at once."""
    head = content[:_HEADERS_BYTES]
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP" or len(head) < _HEADERS_BYTES:
        return
    match head[12:16]:
        case b"VP8X":
            _check_size(int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1)
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            _check_size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
        case b"VP8 ":
            width, height = struct.unpack("<HH", head[26:30])
            _check_size(width & 0x3FFF, height & 0x3FFF)


def _clean(image: Image.Image, *, keep_alpha: bool) -> Image.Image:
    """Decode *image* and return it upright, in RGB or RGBA of sRGB, with nothing else attached."""
    profile = image.info.get("icc_profile")
    image.seek(0)
    image.load()
    converted = _converted(_in_srgb(ImageOps.exif_transpose(image), profile), keep_alpha=keep_alpha)
    converted.info = {}  # Pillow would write comments, profiles and the like from here
    return converted


def _converted(image: Image.Image, *, keep_alpha: bool) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey: a plain conversion would cut them off at 255
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    if keep_alpha:
        return layered
    paper = Image.new("RGBA", layered.size, "white")  # JPEG has no transparency: what shone through becomes white
    return Image.alpha_composite(paper, layered).convert("RGB")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Bring colours into sRGB, which is what a picture without a profile is taken for."""
    if not profile or image.mode not in {"RGB", "RGBA", "CMYK", "L"}:
        return image
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        turned = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, *_BROKEN):  # a profile that cannot be read, or is of another kind of picture
        return image
    return image if turned is None else turned


def _box(size: tuple[int, int], width: int | None, height: int | None, fit: Fit) -> tuple[int, int]:
    """Return the size to come to."""
    if fit != "fit":
        if width is None or height is None:
            raise Permanent(f"{fit!r} needs both width and height")
        return width, height
    if width is None and height is None:
        raise Permanent("width or height is needed")
    scale = min(1.0, (width or MAX_SIDE) / size[0], (height or MAX_SIDE) / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _written(image: Image.Image, format_: Format, quality: int) -> bytes:
    out = io.BytesIO()
    match format_:
        case "jpeg":
            image.save(out, "JPEG", quality=quality, optimize=True, progressive=True)
        case "png":
            image.save(out, "PNG")
        case "webp":
            image.save(out, "WEBP", quality=quality)
        case "avif":
            image.save(out, "AVIF", quality=quality, speed=8, max_threads=1)
    return out.getvalue()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
