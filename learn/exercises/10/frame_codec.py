"""
Frames, both ways.

`encode(opcode, payload, mask)` returns a final frame: masked if *mask* (four bytes) is given, with the shortest length.

`decode(buffer)` takes the first frame out of *buffer* and returns (opcode, payload, rest). It returns None if the frame
has not arrived completely. The payload is unmasked; a frame without a mask is fine. A frame that announces more than
LIMIT bytes raises ValueError, as soon as its length is known: the server must not wait for a gigabyte to say that it is
too much.

     byte 0: 0x80 (final) | opcode        byte 1: 0x80 (masked) | length, or 126, or 127
     then 0, 2 or 8 bytes of length, big-endian; four bytes of mask, if masked; the payload
"""

LIMIT = 65_536  # bytes of a payload


def encode(opcode: int, payload: bytes, mask: bytes | None = None) -> bytes:
    """This version is right for short frames without a mask."""
    return bytes([0x80 | opcode, len(payload)]) + payload


def decode(buffer: bytes) -> tuple[int, bytes, bytes] | None:
    raise NotImplementedError("decode comes second")
