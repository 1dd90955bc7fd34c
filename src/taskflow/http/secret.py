"""One root secret, a derived key per purpose (HKDF-SHA256, RFC 5869): a key that leaks from one use opens no other."""

import hashlib
import hmac

MIN_SECRET_BYTES = 32
_SALT = b"taskflow"


class RootSecret:
    """The deployment's secret; all API processes must have the same."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < MIN_SECRET_BYTES:
            raise ValueError(f"the root secret must have at least {MIN_SECRET_BYTES} bytes, got {len(secret)}")
        self._extracted = hkdf_extract(_SALT, secret)

    def derive(self, purpose: str, length: int = 32) -> bytes:
        """Return the key of *purpose*, *length* bytes; the same for the same secret, unrelated to any other purpose."""
        return hkdf_expand(self._extracted, purpose.encode(), length)

    def __repr__(self) -> str:
        return "RootSecret(…)"


def hkdf_extract(salt: bytes, secret: bytes) -> bytes:
    """Condense *secret* into a pseudo-random key of 32 bytes (RFC 5869 §2.2)."""
    return hmac.digest(salt, secret, hashlib.sha256)


def hkdf_expand(key: bytes, info: bytes, length: int) -> bytes:
    """Stretch *key* to *length* bytes bound to *info* (RFC 5869 §2.3)."""
    if not 0 < length <= 255 * 32:
        raise ValueError(f"length must be from 1 to {255 * 32} bytes, got {length}")
    output = block = b""
    counter = 1
    while len(output) < length:
        block = hmac.digest(key, block + info + bytes([counter]), hashlib.sha256)
        output += block
        counter += 1
    return output[:length]
