"""XOR with four bytes, repeated. Twice is nothing. Byte by byte it is a slow loop; as one number it is one step."""

import os
from collections.abc import Callable
from time import perf_counter


def by_byte(data: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))


def by_number(data: bytes, mask: bytes) -> bytes:
    key = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(key, "big")).to_bytes(len(data), "big")


mask = b"\x37\xfa\x21\x3d"
print(by_byte(b"Hello", mask).hex(" "), "->", by_number(by_byte(b"Hello", mask), mask))
data = os.urandom(65_536)
ways: list[Callable[[bytes, bytes], bytes]] = [by_byte, by_number]
for way in ways:
    started = perf_counter()
    way(data, mask)
    print(f"{way.__name__:10} 64 KiB in {(perf_counter() - started) * 1e3:6.2f} ms")
