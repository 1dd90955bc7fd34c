"""Steps of the exercise message_joiner."""

import unittest

from message_joiner import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, MessageJoiner, ProtocolError

HINTS = [
    "a frame that is final and TEXT is a whole message",
    "keep the parts in a list, and remember whether a message is open",
    "opcode >= 8: return None, and change nothing",
    "two cases, one comparison: (opcode == CONTINUATION) must be the same as `is open`",
    "raise before you look at the payload",
    "codecs.getincrementaldecoder('utf-8')() keeps half a letter until the rest comes",
    "decoder.decode(payload, is_final): the second argument says that nothing more will come",
    "keep a sum over all fragments; check it before you decode",
    "begin anew after the last fragment: parts, sum, decoder",
]


class MessageJoinerSteps(unittest.TestCase):
    def setUp(self) -> None:
        self.joiner = MessageJoiner(100)

    def assert_refused(self, code: int, *frames: tuple[int, bool, bytes]) -> None:
        with self.assertRaises(ProtocolError) as caught:
            for frame in frames:
                self.joiner.feed(*frame)
        self.assertEqual(caught.exception.code, code)

    def test_whole(self) -> None:
        """A message in one frame."""
        self.assertEqual(self.joiner.feed(TEXT, True, "größer".encode()), "größer")
        self.assertEqual(self.joiner.feed(TEXT, True, b""), "")

    def test_fragments(self) -> None:
        """A message in three fragments."""
        found = [
            self.joiner.feed(TEXT, False, b"a"),
            self.joiner.feed(CONTINUATION, False, b"b"),
            self.joiner.feed(CONTINUATION, True, b"c"),
        ]
        self.assertEqual(found, [None, None, "abc"])

    def test_control(self) -> None:
        """Control frames stand between fragments and do not disturb them."""
        self.assertIsNone(self.joiner.feed(PING, True, b"\xff\xfe"))
        self.assertIsNone(self.joiner.feed(TEXT, False, b"a"))
        self.assertIsNone(self.joiner.feed(PONG, True, b"no part of it"))
        self.assertIsNone(self.joiner.feed(CLOSE, True, b""))
        self.assertEqual(self.joiner.feed(CONTINUATION, True, b"b"), "ab")

    def test_order(self) -> None:
        """Fragments of two messages are not mixed."""
        self.assert_refused(1002, (CONTINUATION, True, b"x"))
        self.joiner = MessageJoiner(100)
        self.assert_refused(1002, (TEXT, False, b"x"), (TEXT, True, b"y"))

    def test_binary(self) -> None:
        """Binary messages are not spoken here."""
        self.assert_refused(1003, (BINARY, True, b"x"))

    def test_cut_letter(self) -> None:
        """A letter may be cut in two by fragments."""
        data = "größer €".encode()
        for end in range(len(data)):
            with self.subTest(end=end):
                self.assertIsNone(self.joiner.feed(TEXT, False, data[:end]))
                self.assertEqual(self.joiner.feed(CONTINUATION, True, data[end:]), "größer €")

    def test_utf8(self) -> None:
        """Text that can never be UTF-8 is refused, and half a letter at the end."""
        self.assert_refused(1007, (TEXT, False, b"ok \xff"))
        self.joiner = MessageJoiner(100)
        self.assert_refused(1007, (TEXT, True, b"Gr\xc3"))

    def test_limit(self) -> None:
        """The limit is for the message, not for each fragment."""
        self.assertEqual(self.joiner.feed(TEXT, True, b"x" * 100), "x" * 100)
        self.assert_refused(1009, (TEXT, False, b"x" * 60), (CONTINUATION, False, b"x" * 41))

    def test_next(self) -> None:
        """After one message comes the next."""
        for _ in range(3):
            self.joiner.feed(TEXT, False, b"x" * 60)
            self.assertEqual(self.joiner.feed(CONTINUATION, True, b"y"), "x" * 60 + "y")
