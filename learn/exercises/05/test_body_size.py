"""Steps of the exercise body_size."""

import unittest
from collections.abc import Iterator

from body_size import LIMIT, Request, Response, body_size

HINTS = [
    "join the pieces, put them into request.body, and return what proceed returns",
    "headers['content-length'] is text: int() makes a number of it; a request without a body has none",
    "look at the announced length before you take the first piece",
    "count while you take pieces, and stop at the first that is over the limit",
    "exactly LIMIT bytes are allowed: > and not >=",
    "put the number into the text of the answer: who is refused must learn what would be allowed",
]


def handler(request: Request) -> Response:
    return Response(200, f"{len(request.body)} bytes")


class Pieces:
    """A body that counts what is taken of it."""

    def __init__(self, size: int, piece: int = 65_536) -> None:
        self.left, self.piece, self.taken = size, piece, 0

    def __iter__(self) -> Iterator[bytes]:
        while self.left > 0:
            size = min(self.left, self.piece)
            self.left -= size
            self.taken += size
            yield b"x" * size


class BodySize(unittest.TestCase):
    def ask(self, pieces: Pieces, **headers: str) -> Response:
        lower = {name.replace("_", "-"): value for name, value in headers.items()}
        return body_size(Request(lower, iter(pieces)), handler)

    def test_small(self) -> None:
        """A small body passes."""
        self.assertEqual(self.ask(Pieces(5), content_length="5"), Response(200, "5 bytes"))
        self.assertEqual(self.ask(Pieces(0)), Response(200, "0 bytes"))

    def test_announced(self) -> None:
        """An announced body over the limit is 413."""
        self.assertEqual(self.ask(Pieces(LIMIT + 1), content_length=str(LIMIT + 1)).status, 413)

    def test_not_taken(self) -> None:
        """Nothing of it is taken."""
        pieces = Pieces(10 * LIMIT)
        self.ask(pieces, content_length=str(10 * LIMIT))
        self.assertEqual(pieces.taken, 0)

    def test_chunked(self) -> None:
        """Without a length it is counted, and no more is taken than needed."""
        pieces = Pieces(10 * LIMIT)
        self.assertEqual(self.ask(pieces, transfer_encoding="chunked").status, 413)
        self.assertLessEqual(pieces.taken, LIMIT + 65_536)

    def test_border(self) -> None:
        """Exactly the limit is allowed, one more is not, whatever was announced."""
        self.assertEqual(self.ask(Pieces(LIMIT), content_length=str(LIMIT)).status, 200)
        self.assertEqual(self.ask(Pieces(LIMIT)).status, 200)
        self.assertEqual(self.ask(Pieces(LIMIT + 1), content_length="5").status, 413)

    def test_names_the_limit(self) -> None:
        """The answer names the limit."""
        self.assertIn(str(LIMIT), self.ask(Pieces(LIMIT + 1)).text)
