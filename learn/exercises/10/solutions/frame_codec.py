"""Frames, both ways."""

import struct

LIMIT = 65_536  # bytes of a payload


def encode(opcode: int, payload: bytes, mask: bytes | None = None) -> bytes:
    first, masked, length = 0x80 | opcode, 0x80 if mask else 0, len(payload)
    if length <= 125:
        header = struct.pack(">BB", first, masked | length)
    elif length <= 0xFFFF:
        header = struct.pack(">BBH", first, masked | 126, length)
    else:
        header = struct.pack(">BBQ", first, masked | 127, length)
    return header + (mask + _xor(payload, mask) if mask else payload)


def decode(buffer: bytes) -> tuple[int, bytes, bytes] | None:
    if len(buffer) < 2:
        return None
    opcode, is_masked, length, start = buffer[0] & 0x0F, bool(buffer[1] & 0x80), buffer[1] & 0x7F, 2
    if length >= 126:
        start = 4 if length == 126 else 10
        if len(buffer) < start:
            return None
        length = int.from_bytes(buffer[2:start], "big")
    if length > LIMIT:
        raise ValueError(f"a payload may have {LIMIT} bytes, this one has {length}")
    begin = start + (4 if is_masked else 0)
    end = begin + length
    if len(buffer) < end:
        return None
    payload = buffer[begin:end]
    return opcode, _xor(payload, buffer[start:begin]) if is_masked else payload, buffer[end:]


def _xor(data: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
