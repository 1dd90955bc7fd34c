"""Frames and messages, on bytes alone."""

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow_learn.http.wire import EndOfStream, Wire
from taskflow_learn.websocket.frames import (
    CloseCode,
    Frame,
    Opcode,
    ProtocolError,
    apply_mask,
    encode_close,
    encode_frame,
    parse_close,
    read_frame,
)
from taskflow_learn.websocket.handshake import accept_key
from taskflow_learn.websocket.messages import MessageReader, PeerClosed

MASK = b"\x01\x02\x03\x04"


def on_wire(data: bytes) -> Wire:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return Wire(reader)


def read(data: bytes, *, limit: int = 1_000_000, expect_mask: bool = True) -> Frame:
    async def run() -> Frame:
        return await read_frame(on_wire(data), limit=limit, expect_mask=expect_mask)

    return asyncio.run(run())


def read_text(data: bytes, *, limit: int = 1_000_000, on_control: Callable[[Frame], None] = lambda _: None) -> str:
    async def run() -> str:
        return await MessageReader(on_wire(data), limit=limit, expect_mask=True, on_control=on_control).read()

    return asyncio.run(run())


def text(payload: bytes, opcode: Opcode = Opcode.TEXT, *, final: bool = True) -> bytes:
    return encode_frame(opcode, payload, is_final=final, mask=MASK)


@pytest.mark.covers("S1-55")
def test_the_answer_to_a_key_is_that_of_the_standard() -> None:
    """RFC 6455, section 1.3, gives this pair."""
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("frame", "data"),
    [
        (Frame(Opcode.TEXT, b"Hello"), b"\x81\x05Hello"),
        (Frame(Opcode.TEXT, b"Hel", is_final=False), b"\x01\x03Hel"),
        (Frame(Opcode.PING, b"Hello"), b"\x89\x05Hello"),
        (Frame(Opcode.BINARY, bytes(256)), b"\x82\x7e\x01\x00" + bytes(256)),
        (Frame(Opcode.BINARY, bytes(65_536)), b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + bytes(65_536)),
    ],
    ids=["text", "fragment", "ping", "16-bit", "64-bit"],
)
def test_frames_are_those_of_the_standard(frame: Frame, data: bytes) -> None:
    """RFC 6455, section 5.7."""
    assert encode_frame(frame.opcode, frame.payload, is_final=frame.is_final) == data
    assert read(data, expect_mask=False) == frame


def test_a_masked_frame_is_that_of_the_standard() -> None:
    data = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
    assert encode_frame(Opcode.TEXT, b"Hello", mask=b"\x37\xfa\x21\x3d") == data
    assert read(data) == Frame(Opcode.TEXT, b"Hello")


@given(st.binary(max_size=70_000), st.binary(min_size=4, max_size=4))
def test_masking_twice_gives_the_data_back(data: bytes, mask: bytes) -> None:
    masked = apply_mask(data, mask)
    assert apply_mask(masked, mask) == data
    assert all(masked[i] == data[i] ^ mask[i % 4] for i in range(min(len(data), 10)))


@given(st.binary(max_size=70_000), st.sampled_from(Opcode), st.booleans())
def test_what_is_encoded_can_be_read(payload: bytes, opcode: Opcode, masked: bool) -> None:
    if opcode.is_control:
        payload = payload[:125]
    data = encode_frame(opcode, payload, mask=MASK if masked else None)
    assert read(data, expect_mask=masked) == Frame(opcode, payload)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x05Hello", CloseCode.PROTOCOL_ERROR),  # a client that does not mask
        (b"\xc1\x80" + MASK, CloseCode.PROTOCOL_ERROR),  # a reserved bit
        (b"\x83\x80" + MASK, CloseCode.PROTOCOL_ERROR),  # a reserved opcode
        (b"\x8b\x80" + MASK, CloseCode.PROTOCOL_ERROR),
        (b"\x09\x80" + MASK, CloseCode.PROTOCOL_ERROR),  # a fragmented ping
        (b"\x89\xfe\x00\x7e" + MASK, CloseCode.PROTOCOL_ERROR),  # a ping of 126 bytes
        (b"\x81\xfe\x00\x05" + MASK, CloseCode.PROTOCOL_ERROR),  # five bytes need no second length
        (b"\x81\xff" + bytes(7) + b"\x05" + MASK, CloseCode.PROTOCOL_ERROR),
        (b"\x81\xff\x80" + bytes(7) + MASK, CloseCode.PROTOCOL_ERROR),
        (b"\x81\xff\x00\x00\x7f" + bytes(5) + MASK, CloseCode.TOO_LARGE),  # 139 TB, announced only
    ],
)
def test_broken_frames_have_a_close_code(data: bytes, code: CloseCode) -> None:
    with pytest.raises(ProtocolError) as broken:
        read(data)
    assert broken.value.code is code


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_unforeseen(data: bytes) -> None:
    try:
        read_text(data, limit=100)
    except (ProtocolError, PeerClosed, EndOfStream):
        return


@given(st.text(max_size=300), st.lists(st.integers(0, 1_200), max_size=6))
def test_a_message_is_the_same_however_it_is_cut(message: str, cuts: list[int]) -> None:
    """Also in the middle of a character, and with pings in between."""
    payload = message.encode(errors="ignore")
    places = [0, *sorted(min(cut, len(payload)) for cut in cuts), len(payload)]
    data = b""
    for index, (start, end) in enumerate(pairwise(places)):
        opcode = Opcode.CONTINUATION if index else Opcode.TEXT
        data += text(payload[start:end], opcode, final=index == len(places) - 2) + text(b"?", Opcode.PING)
    heard: list[bytes] = []
    assert read_text(data, on_control=lambda frame: heard.append(frame.payload)) == payload.decode()
    assert len(heard) == len(places) - 2


def test_a_ping_may_come_when_nothing_is_left_of_the_limit() -> None:
    heard: list[bytes] = []
    data = text(b"x" * 98, final=False) + text(b"hello", Opcode.PING) + text(b"yz", Opcode.CONTINUATION)
    assert read_text(data, limit=100, on_control=lambda frame: heard.append(frame.payload)) == "x" * 98 + "yz"
    assert heard == [b"hello"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (text(b"", Opcode.CONTINUATION), CloseCode.PROTOCOL_ERROR),
        (text(b"a", final=False) + text(b"b"), CloseCode.PROTOCOL_ERROR),
        (text(b"a", Opcode.BINARY), CloseCode.UNSUPPORTED_DATA),
        (text(b"\xff"), CloseCode.INVALID_DATA),
        (text(b"\xc3", final=False) + text(b"\x28", Opcode.CONTINUATION), CloseCode.INVALID_DATA),
        (text(b"\xe2\x82"), CloseCode.INVALID_DATA),  # ends in the middle of a character
        (text(b"\xed\xa0\x80"), CloseCode.INVALID_DATA),  # half a surrogate pair
        (text(b"x" * 60, final=False) + text(b"x" * 60, Opcode.CONTINUATION), CloseCode.TOO_LARGE),
        (text(b"x" * 101), CloseCode.TOO_LARGE),
    ],
)
def test_broken_messages_have_a_close_code(data: bytes, code: CloseCode) -> None:
    with pytest.raises(ProtocolError) as broken:
        read_text(data, limit=100)
    assert broken.value.code is code


def test_text_that_can_never_be_utf_8_is_refused_before_its_end() -> None:
    with pytest.raises(ProtocolError) as broken:
        read_text(text(b"\xff", final=False))
    assert broken.value.code is CloseCode.INVALID_DATA


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535])
def test_codes_that_may_not_be_sent_are_refused(code: int) -> None:
    with pytest.raises(ProtocolError):
        parse_close(code.to_bytes(2, "big"))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(b"", (1005, "")), (b"\x03\xe8", (1000, "")), (b"\x0f\xa0bye", (4000, "bye"))],
)
def test_close_frames_are_understood(payload: bytes, expected: tuple[int, str]) -> None:
    assert parse_close(payload) == expected


@pytest.mark.parametrize("payload", [b"\x03", b"\x03\xe8\xff"])
def test_broken_close_frames_are_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_close(payload)


def test_a_long_close_reason_is_cut_between_characters() -> None:
    frame = read(encode_close(1000, "é" * 100, mask=MASK))
    assert parse_close(frame.payload) == (1000, "é" * 61)
