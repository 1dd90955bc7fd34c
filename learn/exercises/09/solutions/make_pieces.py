"""From many small strings to few pieces of bytes."""

from collections.abc import Iterable, Iterator


def make_pieces(rows: Iterable[str], size: int) -> Iterator[bytes]:
    piece: list[bytes] = []
    length = 0
    try:
        for row in rows:
            data = row.encode()
            piece.append(data)
            length += len(data)
            if length >= size:
                yield b"".join(piece)
                piece.clear()
                length = 0
        if length:
            yield b"".join(piece)
    finally:
        close = getattr(rows, "close", None)  # a generator has it, a list does not
        if close is not None:
            close()
