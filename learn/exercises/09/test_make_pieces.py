"""Steps of the exercise make_pieces."""

import unittest
from collections.abc import Iterator

from make_pieces import make_pieces

HINTS = [
    "b''.join of all pieces must be the same as ''.join(rows).encode()",
    "collect encoded rows in a list and count; at *size*, yield the joined list and begin again",
    "encode first, then count: len('ß') is 1, len('ß'.encode()) is 2",
    "after the loop there may be a rest; an empty rest is not yielded",
    "a for loop over rows, and a yield inside it: never list(rows)",
    "try ... finally around it all; a generator has .close(), and a list has not: getattr(rows, 'close', None)",
]


class MakePieces(unittest.TestCase):
    def test_whole(self) -> None:
        """Nothing is lost, nothing is torn apart."""
        rows = [f"row {number}\n" for number in range(1_000)]
        pieces = list(make_pieces(rows, 100))
        self.assertEqual(b"".join(pieces), "".join(rows).encode())
        self.assertTrue(all(piece.endswith(b"\n") for piece in pieces))

    def test_size(self) -> None:
        """A piece is as large as it has to be, and no larger."""
        pieces = list(make_pieces(["aaaa", "bbbb", "cccc", "dd", "eeeeeeeeeee", "f"], 8))
        self.assertEqual(pieces, [b"aaaabbbb", b"ccccddeeeeeeeeeee", b"f"])

    def test_bytes(self) -> None:
        """Bytes are counted."""
        self.assertEqual(list(make_pieces(["ßß", "ßß", "ß"], 4)), ["ßß".encode(), "ßß".encode(), "ß".encode()])

    def test_empty(self) -> None:
        """There is no empty piece."""
        self.assertEqual(list(make_pieces([], 10)), [])
        self.assertEqual(list(make_pieces(["", "", ""], 10)), [])
        self.assertEqual(list(make_pieces(["a", "", "b"], 1)), [b"a", b"b"])

    def test_lazy(self) -> None:
        """No row is read before it is needed."""
        read: list[int] = []

        def rows() -> Iterator[str]:
            for number in range(100):
                read.append(number)
                yield "x" * 10

        pieces = make_pieces(rows(), 30)
        self.assertEqual(next(pieces), b"x" * 30)
        self.assertEqual(read, [0, 1, 2])

    def test_leaves(self) -> None:
        """When the reader leaves, the rows are closed."""
        ended: list[str] = []

        def rows() -> Iterator[str]:
            try:
                for _ in range(1_000):
                    yield "x" * 10
            finally:
                ended.append("closed")

        source = rows()
        pieces = make_pieces(source, 30)
        next(pieces)
        pieces.close()  # type: ignore[attr-defined]
        self.assertEqual(ended, ["closed"])
