"""`resize_image`: pictures of every kind, and pictures made to hurt."""

import io
import struct
import zlib
from contextlib import suppress
from typing import Any
from uuid import uuid4

import jsonschema_rs
import msgspec
import pytest
from PIL import Image, ImageCms
from tests.handlers.running import Bench

from taskflow.adapters import images
from taskflow.db.pool import Database
from taskflow.engine.job import DEFAULT_NAMESPACE
from taskflow.engine.payload import PayloadSchema
from taskflow.handlers import image
from taskflow.handlers.forced import ForcedFailure
from taskflow.kernel.errors import Permanent
from taskflow.kinds.image import MAX_SIDE, PAYLOAD


def picture(size: tuple[int, int] = (60, 40), *, mode: str = "RGB", format: str = "PNG", **options: Any) -> bytes:  # noqa: A002
    """A picture whose left half is red and whose right half is blue."""
    made = Image.new("RGB", size, "red")
    made.paste("blue", (size[0] // 2, 0, *size))
    out = io.BytesIO()
    made.convert(mode).save(out, format, **options)
    return out.getvalue()


def rgb(image_: Image.Image, x: int, y: int) -> tuple[int, int, int]:
    pixel = image_.convert("RGB").getpixel((x, y))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


FORMATS: tuple[images.Format, ...] = ("jpeg", "png", "webp", "avif")


@pytest.fixture
def bench(database: Database) -> Bench:
    bench = Bench(database)
    image.register(bench.registry, bench.files, retries=3, timeout_s=30.0)
    return bench


@pytest.mark.covers("S2-14", "S3-20")
async def test_a_picture_becomes_a_file_of_the_size_that_was_asked_for(bench: Bench) -> None:
    source = await bench.put(picture((600, 400), format="JPEG"), "photo of ada.jpeg")
    result = await bench.run("resize_image", {"file": source, "width": 150, "format": "webp"})
    file, content = await bench.made(result["file"])
    assert result == {"file": str(file.id), "width": 150, "height": 100, "format": "webp", "size": len(content)}
    assert (file.name, file.type, file.size) == ("photo of ada-150x100.webp", "image/webp", len(content))
    assert (opened(content).size, opened(content).format) == ((150, 100), "WEBP")


@pytest.mark.covers("S2-14", "S2-42")
async def test_a_forced_failure_fails_and_makes_nothing(bench: Bench) -> None:
    source = await bench.put(picture())
    with pytest.raises(ForcedFailure):
        await bench.run("resize_image", {"file": source, "width": 10, "forceFail": True})
    assert len(await bench.files.list_files(DEFAULT_NAMESPACE, limit=9)) == 1


async def test_an_attempt_that_runs_again_makes_the_same_file(bench: Bench) -> None:
    source, job_id = await bench.put(picture()), uuid4()
    asked = {"file": source, "height": 20}
    first = await bench.run("resize_image", asked, job_id=job_id)
    assert await bench.run("resize_image", asked, job_id=job_id) == first


async def test_a_file_that_cannot_be_had_is_no_reason_to_try_again(bench: Bench) -> None:
    foreign = await bench.put(picture(), namespace=uuid4())
    text = await bench.put(b"not a picture")
    for file_id, says in (
        (str(uuid4()), "no file"),
        (foreign, "no file"),
        (text, "not a JPEG, PNG, WebP, AVIF or GIF"),
    ):
        with pytest.raises(Permanent, match=says):
            await bench.run("resize_image", {"file": file_id, "width": 10})


@pytest.mark.parametrize(
    ("fit", "box", "size"),
    [
        ("fit", (30, 30), (30, 20)),
        ("fit", (None, 10), (15, 10)),
        ("fit", (30, None), (30, 20)),
        ("fit", (4000, 4000), (60, 40)),
        ("cover", (20, 20), (20, 20)),
        ("cover", (120, 80), (120, 80)),
        ("exact", (7, 90), (7, 90)),
    ],
)
def test_each_fit_gives_its_size(fit: images.Fit, box: tuple[int | None, int | None], size: tuple[int, int]) -> None:
    made = images.resize(picture(), width=box[0], height=box[1], fit=fit)
    assert (made.width, made.height) == opened(made.content).size == size


def test_cover_cuts_off_evenly() -> None:
    made = opened(images.resize(picture((80, 20)), width=20, height=20, fit="cover").content)
    assert (made.getpixel((2, 10)), made.getpixel((17, 10))) == ((255, 0, 0), (0, 0, 255))


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "AVIF", "GIF"])
def test_each_format_is_read_and_kept(source: str) -> None:
    content = picture(format=source, mode="P" if source == "GIF" else "RGB")
    made = images.resize(content, width=30, height=None)
    assert made.format == {"GIF": "png"}.get(source, source.lower())
    assert str(opened(made.content).format).lower() == made.format


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
def test_each_mode_is_written_in_each_format(mode: str, format_: images.Format) -> None:
    if mode == "CMYK":
        content = picture(mode="CMYK", format="JPEG")
    elif mode == "I;16":
        out = io.BytesIO()
        Image.new("I;16", (60, 40), 0xFFFF).save(out, "PNG")
        content = out.getvalue()
    else:
        content = picture(mode=mode)
    made = opened(images.resize(content, width=30, height=30, format=format_).content)
    assert made.size == (30, 20)
    if mode == "I;16":
        assert made.convert("L").histogram()[250:] != [0] * 6


def test_transparency_is_kept_where_it_can_be_and_white_where_not() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(out, "PNG")
    kept = opened(images.resize(out.getvalue(), width=10, height=10, format="webp").content)
    assert kept.convert("RGBA").getpixel((5, 5)) == (0, 0, 0, 0)
    flat = opened(images.resize(out.getvalue(), width=10, height=10, format="jpeg").content)
    assert flat.getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_picture_that_lies_on_its_side_is_stood_up_and_nothing_is_kept_of_who_took_it(format_: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    exif[0x010F] = "SecretCamera"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options: dict[str, Any] = {"comment": b"SecretComment"} if format_ == "JPEG" else {}
    content = picture((60, 40), format=format_, exif=exif, icc_profile=profile, **options)
    assert b"SecretCamera" in content
    for kept in FORMATS:
        made = images.resize(content, width=20, height=None, format=kept)
        assert (made.width, made.height) == (20, 30)
        assert b"Secret" not in made.content
        image_ = opened(made.content)
        assert not image_.getexif()
        assert "icc_profile" not in image_.info
        red, _, blue = rgb(image_, 10, 3)  # the left side is on top now
        assert red > 200 > 60 > blue


def test_of_a_film_the_first_picture_is_taken() -> None:
    out = io.BytesIO()
    first, second = Image.new("RGB", (20, 20), "red"), Image.new("RGB", (20, 20), "blue")
    first.save(out, "GIF", save_all=True, append_images=[second])
    red, _, blue = rgb(opened(images.resize(out.getvalue(), width=10, height=10).content), 5, 5)
    assert red > 200 > blue


# Pictures made to hurt -----------------------------------------------------------------------------------------------


def png_of(width: int, height: int) -> bytes:
    """A few bytes that say they are a huge picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def webp_of(width: int, height: int) -> bytes:
    data = (
        b"VP8X"
        + struct.pack("<I", 10)
        + bytes(4)
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little")
    )
    return b"RIFF" + struct.pack("<I", len(data) + 4) + b"WEBP" + data


def gif_of(width: int, height: int) -> bytes:
    frame = b"," + struct.pack("<HHHH", 0, 0, width, height) + b"\x00\x02\x02\x4c\x01\x00;"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\x00\x00" + bytes(6) + frame


def jpeg_of(width: int, height: int) -> bytes:
    content = bytearray(picture(format="JPEG"))
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize(
    "bomb",
    [
        png_of(50_000, 50_000),
        png_of(2**31 - 1, 2**31 - 1),
        png_of(50_000_001, 1),
        webp_of(16_383, 16_383),
        webp_of(1 << 24, 1 << 24),
        b"RIFF\x00\x00\x00\x00WEBPVP8L" + bytes(5) + b"\xff\xff\xff\xff" + bytes(20),
        b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(10) + b"\xff\x3f\xff\x3f" + bytes(20),
        gif_of(65_535, 65_535),
        jpeg_of(65_000, 65_000),
    ],
    ids=["png", "png-max", "png-wide", "webp", "webp-max", "webp-lossless", "webp-lossy", "gif", "jpeg"],
)
def test_a_bomb_is_refused_before_it_is_unpacked(bomb: bytes) -> None:
    with pytest.raises(Permanent, match=r"pixels, over the limit of 50 million|broken"):
        images.resize(bomb, width=10, height=10)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF", "GIF"])
def test_a_picture_that_is_cut_off_or_damaged_is_refused_with_a_clear_error(format_: str) -> None:
    made = Image.effect_noise((200, 200), 80)
    out = io.BytesIO()
    made.convert("P" if format_ == "GIF" else "RGB").save(out, format_)
    content = out.getvalue()
    for broken in (content[: len(content) // 2], content[:20]):
        with pytest.raises(Permanent, match=r"broken|not a JPEG|no pixels|over the limit"):
            images.resize(broken, width=10, height=10)
    for start in range(0, 400, 7):  # some decoders make something of it; what none may do is fail in another way
        damaged = content[:start] + bytes(64) + content[start + 64 :]
        with suppress(Permanent):
            images.resize(damaged, width=10, height=10)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
        b"II*\x00\x08\x00\x00\x00",
        b"BM" + bytes(100),
        b"%PDF-1.7",
        b"RIFF\x00\x00\x00\x00WEBP",
    ],
    ids=["nothing", "svg", "postscript", "tiff", "bmp", "pdf", "short-webp"],
)
def test_what_is_no_picture_of_ours_is_not_opened(content: bytes) -> None:
    with pytest.raises(Permanent, match="not a JPEG, PNG, WebP, AVIF or GIF"):
        images.resize(content, width=10, height=10)


# Payloads ------------------------------------------------------------------------------------------------------------

_VALIDATOR = jsonschema_rs.validator_for(msgspec.json.schema(PAYLOAD))
_FILE = "019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11"


def test_a_picture_without_a_size_is_told_that_one_side_will_do() -> None:
    schema = PayloadSchema(msgspec.json.schema(PAYLOAD))
    [error] = schema.errors_of({"file": _FILE})
    assert (error.pointer, error.detail) == ("/payload/height", "width or height is required")
    [error] = schema.errors_of({"width": 5, "file": _FILE, "fit": "cover"})
    assert (error.pointer, error.detail) == ("/payload/height", "is required")


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({"width": 1}, True),
        ({"height": MAX_SIDE, "format": "avif", "quality": 100}, True),
        ({"width": 5, "height": 5, "fit": "cover"}, True),
        ({}, False),
        ({"width": 0}, False),
        ({"width": MAX_SIDE + 1}, False),
        ({"width": None}, False),
        ({"width": 5, "fit": "cover"}, False),
        ({"height": 5, "fit": "exact"}, False),
        ({"width": 5, "fit": "stretch"}, False),
        ({"width": 5, "format": "gif"}, False),
        ({"width": 5, "quality": 0}, False),
        ({"width": 5, "more": 1}, False),
        ({"width": 5, "file": "photo.jpg"}, False),
    ],
)
def test_the_api_and_the_worker_agree_on_what_a_payload_is(fields: dict[str, Any], taken: bool) -> None:
    payload = {"file": _FILE, **fields}
    assert _VALIDATOR.is_valid(payload) == taken
    try:
        msgspec.json.decode(msgspec.json.encode(payload), type=PAYLOAD)
        assert taken
    except msgspec.ValidationError:
        assert not taken


def test_what_is_made_is_as_large_as_payloads_may_ask() -> None:
    assert images.MAX_SIDE == MAX_SIDE
