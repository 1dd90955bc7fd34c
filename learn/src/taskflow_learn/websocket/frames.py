r"""
Frames: how WebSocket cuts messages out of the byte stream.

     byte 0             byte 1               then
    +-+-+-+-+-------+  +-+-------------+   0, 2 or 8 bytes: the length, if the 7 bits say 126 or 127
    |F|R|R|R| op-   |  |M| length      |   4 bytes: the mask, if M
    |I|S|S|S| code  |  |A| 7 bits      |   the payload
    |N|V|V|V| 4 bits|  |S|             |
    +-+-+-+-+-------+  |K|             |
                       +-+-------------+

A client must mask what it sends: every byte XOR a key of four random bytes. Not to keep a secret (the key stands beside
it) but so that a page cannot choose the bytes on the wire, and make an old proxy see an HTTP request in them.

Every rule that is broken has a close code: 1002 protocol error, 1007 text that is not UTF-8, 1009 too large.

Source: RFC 6455, sections 5 and 7.4.
"""

import os
import struct
from dataclasses import dataclass
from enum import IntEnum

from taskflow_learn.http.wire import Wire

CONTROL_BYTES = 125


class Opcode(IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA

    @property
    def is_control(self) -> bool:
        return self >= Opcode.CLOSE


class CloseCode(IntEnum):
    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005  # never sent: says that a close frame came without a code
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    TOO_LARGE = 1009
    INTERNAL_ERROR = 1011


class ProtocolError(Exception):
    """The peer broke a rule; the connection is closed with *code*."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Frame:
    opcode: Opcode
    payload: bytes
    is_final: bool = True


def encode_frame(opcode: Opcode, payload: bytes, *, is_final: bool = True, mask: bytes | None = None) -> bytes:
    """Return a frame. A client passes four random bytes as *mask*; a server must not mask."""
    first = (0x80 if is_final else 0) | opcode
    masked = 0x80 if mask else 0
    length = len(payload)
    if length <= 125:
        header = struct.pack(">BB", first, masked | length)
    elif length <= 0xFFFF:
        header = struct.pack(">BBH", first, masked | 126, length)
    else:
        header = struct.pack(">BBQ", first, masked | 127, length)
    return header + (mask + apply_mask(payload, mask) if mask else payload)


def encode_close(code: int, reason: str = "", *, mask: bytes | None = None) -> bytes:
    """Return a close frame; a *reason* that is too long for a control frame is cut between characters."""
    text = reason.encode()[: CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return encode_frame(Opcode.CLOSE, struct.pack(">H", code) + text, mask=mask)


def random_mask() -> bytes:
    return os.urandom(4)


def apply_mask(data: bytes, mask: bytes) -> bytes:
    """
    XOR *data* with *mask*, repeated. Doing it twice gives the data back.

    Byte by byte this is a Python loop over everything a client sends. As one number of a million bits it is one XOR.
    """
    length = len(data)
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")


async def read_frame(wire: Wire, *, limit: int, expect_mask: bool) -> Frame:
    """
    Return the next frame. Raise `ProtocolError`, before reading more than *limit* bytes of data.

    Control frames have a limit of their own: a ping may come when nothing is left of the one for data.
    """
    first, second = await wire.exactly(2)
    if first & 0x70:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "reserved bits are set, but no extension was agreed on")
    try:
        opcode = Opcode(first & 0x0F)
    except ValueError:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, f"unknown opcode {first & 0x0F}") from None
    is_final, is_masked, length = bool(first & 0x80), bool(second & 0x80), second & 0x7F
    if is_masked is not expect_mask:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "a client must mask its frames, a server must not")
    if opcode.is_control and (length > CONTROL_BYTES or not is_final):
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "control frames are whole and have at most 125 bytes")
    if length == 126:
        length = _long_length(await wire.exactly(2), minimum=126)
    elif length == 127:
        length = _long_length(await wire.exactly(8), minimum=0x1_0000)
    if length > limit and not opcode.is_control:
        raise ProtocolError(CloseCode.TOO_LARGE, f"a message may have {limit} bytes")
    mask = await wire.exactly(4) if is_masked else b""
    payload = await wire.exactly(length)
    return Frame(opcode, apply_mask(payload, mask) if mask else payload, is_final)


def parse_close(payload: bytes) -> tuple[int, str]:
    """Return the code and reason of a close frame. Raise `ProtocolError` for codes that may not be sent."""
    if not payload:
        return CloseCode.NO_STATUS, ""
    if len(payload) == 1:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "a close code has two bytes")
    (code,) = struct.unpack(">H", payload[:2])
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, f"close code {code} may not be sent")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError(CloseCode.INVALID_DATA, "the close reason is not UTF-8") from None


def _long_length(data: bytes, *, minimum: int) -> int:
    length = int.from_bytes(data, "big")
    if length < minimum or length >> 63:
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "a length must use the shortest form, and at most 63 bits")
    return length
