"""
Keyset cursors: opaque, signed, and good only for the list they came from.

A cursor is the position, sealed with the *binding*: what the list shows (namespace, filter, sort). Changing a filter in
the middle of a walk is refused instead of giving a list with holes.
"""

from taskflow.http.seal import Seal
from taskflow.http.secret import RootSecret
from taskflow.kernel.errors import FieldError, Invalid

MIN_LIMIT, MAX_LIMIT, DEFAULT_LIMIT = 1, 200, 50
MAX_PAGE_BYTES = 4 * 1024 * 1024  # a page ends early when it has grown to this
_MAX_CURSOR_LENGTH = 800  # of the longest position, a key of 500 bytes


class Cursors:
    """Makes and opens cursors."""

    def __init__(self, secret: RootSecret) -> None:
        self._seal = Seal(secret.derive("cursors v1"))

    def seal(self, position: bytes, *binding: object) -> str:
        """Return the cursor for *position* in the list that *binding* names."""
        return self._seal.write(position, _context(binding))

    def open(self, cursor: str, *binding: object) -> bytes:
        """Return the position. Raises Invalid for a cursor that is broken, forged or from another list."""
        position = self._seal.read(cursor, _context(binding)) if len(cursor) <= _MAX_CURSOR_LENGTH else None
        if not position:
            detail = "is not a cursor of this list; take nextCursor as it came and keep the other parameters the same"
            raise Invalid("the cursor is not valid here", errors=[FieldError("cursor", "bad_cursor", detail)])
        return position


def _context(binding: tuple[object, ...]) -> bytes:
    return repr(binding).encode() + b"\0"
