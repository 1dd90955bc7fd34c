"""
Keyset cursors: opaque, signed, and good only for the list they came from.

A cursor is the position and a MAC over the position and the *binding*: what the list shows (namespace, filter, sort).
Changing a filter in the middle of a walk is refused instead of giving a list with holes.
"""

import base64
import binascii
import hashlib
import hmac

from taskflow.http.secret import RootSecret
from taskflow.kernel.errors import FieldError, Invalid

MIN_LIMIT, MAX_LIMIT, DEFAULT_LIMIT = 1, 200, 50
MAX_PAGE_BYTES = 4 * 1024 * 1024  # a page ends early when it has grown to this
_MAC_BYTES = 16
_MAX_CURSOR_LENGTH = 800  # of the longest position, a key of 500 bytes


class Cursors:
    """Makes and opens cursors."""

    def __init__(self, secret: RootSecret) -> None:
        self._key = secret.derive("cursors v1")

    def seal(self, position: bytes, *binding: object) -> str:
        """Return the cursor for *position* in the list that *binding* names."""
        return _text(position + self._mac(position, binding))

    def open(self, cursor: str, *binding: object) -> bytes:
        """Return the position. Raises Invalid for a cursor that is broken, forged or from another list."""
        cursor = cursor if len(cursor) <= _MAX_CURSOR_LENGTH else ""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            if _text(raw) != cursor:  # the last character may differ without a difference: it must be as we wrote it
                raw = b""
        except (ValueError, binascii.Error):
            raw = b""
        position, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if not position or not hmac.compare_digest(mac, self._mac(position, binding)):
            detail = "is not a cursor of this list; take nextCursor as it came and keep the other parameters the same"
            raise Invalid("the cursor is not valid here", errors=[FieldError("cursor", "bad_cursor", detail)])
        return position

    def _mac(self, position: bytes, binding: tuple[object, ...]) -> bytes:
        message = repr(binding).encode() + b"\0" + position
        return hmac.digest(self._key, message, hashlib.sha256)[:_MAC_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
