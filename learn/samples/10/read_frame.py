"""From bytes to frames. What is not allowed has a close code, and a length is checked before a byte of it is read."""

import io
import struct


def read(stream: io.BytesIO) -> tuple[int, bytes]:
    first, second = stream.read(2)
    opcode, length = first & 0x0F, second & 0x7F
    if first & 0x70 or not second & 0x80:
        raise ValueError("1002 reserved bits are set, or there is no mask")
    if length >= 126:
        (length,) = struct.unpack(*((">H", stream.read(2)) if length == 126 else (">Q", stream.read(8))))
    if length > 1_000:
        raise ValueError(f"1009 {length} bytes, the limit is 1000")
    mask = stream.read(4)
    return opcode, bytes(byte ^ mask[i % 4] for i, byte in enumerate(stream.read(length)))


for data in ("81 85 37fa213d 7f9f4d5158", "81 05 48656c6c6f", "81 ff 7fffffffffffffff"):
    try:
        print(read(io.BytesIO(bytes.fromhex(data))))
    except ValueError as error:
        print("closed:", error)
