"""A frame: two bytes, perhaps a longer length, then the payload."""

import struct

TEXT, FINAL = 0x1, 0x80


def frame(payload: bytes) -> bytes:
    length = len(payload)
    if length <= 125:
        return struct.pack(">BB", FINAL | TEXT, length) + payload
    if length <= 0xFFFF:
        return struct.pack(">BBH", FINAL | TEXT, 126, length) + payload  # 126: two bytes of length follow
    return struct.pack(">BBQ", FINAL | TEXT, 127, length) + payload  # 127: eight bytes


for payload in (b"hello", b"x" * 200, b"x" * 70_000):
    data = frame(payload)
    print(
        f"{len(payload):6} bytes in {len(data):6}:", data[: len(data) - len(payload)].hex(" "), "|", payload[:5], "..."
    )
