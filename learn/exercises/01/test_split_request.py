"""Steps of the exercise split_request."""

import unittest

from split_request import split_request

GET = b"GET / HTTP/1.1\r\nHost: me\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: me\r\ncontent-LENGTH: 5\r\n\r\nhello"

HINTS = [
    "bytes.partition(b'\\r\\n\\r\\n') gives what is before, the separator, and what is after",
    "when the separator is not in the buffer, partition gives an empty separator: return None then",
    "what is after the empty line belongs to the next request: it is the rest",
    "look for content-length in the lines of the head (compare in lower case), and cut so many bytes off",
    "compare the number of bytes after the head with the length: too few means None",
    "check len(head) against HEAD_LIMIT, also when the separator has not arrived yet",
]


class SplitRequest(unittest.TestCase):
    def test_one(self) -> None:
        """A head ends with an empty line."""
        self.assertEqual(split_request(GET), (b"GET / HTTP/1.1\r\nHost: me", b"", b""))

    def test_incomplete(self) -> None:
        """Half a head is not a request yet."""
        for length in range(len(GET)):
            self.assertIsNone(split_request(GET[:length]), GET[:length])

    def test_two(self) -> None:
        """Two requests at once are two requests."""
        first = split_request(GET + GET)
        assert first is not None
        self.assertEqual(first[2], GET)

    def test_body(self) -> None:
        """A body is as long as its head says."""
        self.assertEqual(split_request(POST + GET), (POST[:-9], b"hello", GET))

    def test_incomplete_body(self) -> None:
        """Half a body is not a request yet."""
        self.assertIsNone(split_request(POST[:-1]))

    def test_limit(self) -> None:
        """A head has a limit."""
        with self.assertRaises(ValueError):
            split_request(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)
        with self.assertRaises(ValueError):
            split_request(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
