"""Text that only we can have written: some bytes with a MAC over them, opaque and safe in a URL."""

import base64
import binascii
import hashlib
import hmac

_MAC_BYTES = 16


class Seal:
    """Writes and reads such text with one key. The MAC also covers a *context*, which the text does not carry."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, content: bytes, context: bytes = b"") -> str:
        return _text(content + self._mac(content, context))

    def read(self, text: str, context: bytes = b"") -> bytes | None:
        """Return the content of *text*; None if it is broken, forged, or was written with another context."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        if _text(raw) != text:  # the last character may differ without a difference: it must be as we wrote it
            return None
        content, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        return content if hmac.compare_digest(mac, self._mac(content, context)) else None

    def _mac(self, content: bytes, context: bytes) -> bytes:
        return hmac.digest(self._key, context + content, hashlib.sha256)[:_MAC_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
