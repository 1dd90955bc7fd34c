"""Steps of the exercise frame_codec."""

import struct
import unittest

from frame_codec import LIMIT, decode, encode

HINTS = [
    "0x80 | opcode, then the length, then the payload",
    "struct.pack('>BBH', ...) writes two bytes of length, '>BBQ' eight",
    "the bit 0x80 of the second byte, then the mask itself, then byte ^ mask[index % 4]",
    "buffer[0] & 0x0F is the opcode, buffer[1] & 0x7F the length; what follows the payload is the rest",
    "126 means: the length is in the next two bytes; 127: in the next eight; int.from_bytes(..., 'big')",
    "the mask stands before the payload, and applying it twice gives the payload back",
    "compare with len(buffer) before each step, and return None if there is too little",
    "check the limit as soon as you have the length, before you ask whether the payload is there",
]
MASK = bytes.fromhex("37fa213d")


class FrameCodec(unittest.TestCase):
    def test_short(self) -> None:
        """A short frame has two bytes of head."""
        self.assertEqual(encode(0x1, b"Hello"), bytes.fromhex("810548656c6c6f"))
        self.assertEqual(encode(0x9, b""), b"\x89\x00")

    def test_long(self) -> None:
        """Longer lengths take two or eight bytes more."""
        for length, head in (
            (125, b"\x82\x7d"),
            (126, b"\x82\x7e\x00\x7e"),
            (65_535, b"\x82\x7e\xff\xff"),
            (65_536, b"\x82\x7f" + struct.pack(">Q", 65_536)),
        ):
            with self.subTest(length=length):
                frame = encode(0x2, b"x" * length)
                self.assertEqual(frame[: len(head)], head)
                self.assertEqual(len(frame), len(head) + length)

    def test_mask(self) -> None:
        """A masked frame, as in the RFC."""
        self.assertEqual(encode(0x1, b"Hello", MASK), bytes.fromhex("818537fa213d7f9f4d5158"))

    def test_decode(self) -> None:
        """The first frame comes out, and the rest stays."""
        self.assertEqual(decode(bytes.fromhex("810548656c6c6f") + b"next"), (0x1, b"Hello", b"next"))

    def test_decode_long(self) -> None:
        """All three lengths are understood."""
        for length in (0, 1, 125, 126, 127, 65_535, 65_536):
            with self.subTest(length=length):
                payload = bytes(number % 251 for number in range(length))
                self.assertEqual(decode(encode(0x2, payload)), (0x2, payload, b""))

    def test_decode_mask(self) -> None:
        """A mask is taken off."""
        self.assertEqual(decode(bytes.fromhex("818537fa213d7f9f4d5158")), (0x1, b"Hello", b""))
        payload = bytes(range(256)) * 3
        self.assertEqual(decode(encode(0x2, payload, MASK) + b"!"), (0x2, payload, b"!"))

    def test_pieces(self) -> None:
        """Half a frame is no frame yet, wherever it was cut."""
        for payload in (b"Hello", b"x" * 300):
            frame = encode(0x1, payload, MASK)
            for end in range(len(frame)):
                with self.subTest(length=len(payload), arrived=end):
                    self.assertIsNone(decode(frame[:end]))

    def test_limit(self) -> None:
        """Too much is refused by its announcement."""
        with self.assertRaises(ValueError):
            decode(b"\x82\xff" + struct.pack(">Q", LIMIT + 1))
        with self.assertRaises(ValueError):
            decode(b"\x82\x7f" + struct.pack(">Q", 2**62))
