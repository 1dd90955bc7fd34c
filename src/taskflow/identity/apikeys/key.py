"""
The form of an API key: `tf_`, 43 base62 digits of 32 random bytes, 6 base62 digits of their CRC-32.

The prefix and the checksum let secret scanners recognise a leaked key without asking us, and let us turn a mistyped one
away without asking the database. The checksum guards nothing: the 256 random bits do.
"""

import hashlib
import secrets
import zlib
from typing import Final

PREFIX: Final = "tf_"
RANDOM_BYTES = 32
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY_LENGTH = 43  # 62 ** 43 > 2 ** 256
_CHECK_LENGTH = 6  # 62 ** 6 > 2 ** 32
LENGTH = len(PREFIX) + _BODY_LENGTH + _CHECK_LENGTH


def make() -> str:
    """Return a new key."""
    return write(secrets.token_bytes(RANDOM_BYTES))


def write(random: bytes) -> str:
    """Return the key of *random*, 32 bytes."""
    body = _base62(int.from_bytes(random, "big"), _BODY_LENGTH)
    return PREFIX + body + _check(body)


def is_well_formed(key: str) -> bool:
    """Say whether *key* could be one of ours: prefix, length, digits and checksum."""
    if len(key) != LENGTH or not key.startswith(PREFIX) or not key.isascii():
        return False
    body, check = key[len(PREFIX) : -_CHECK_LENGTH], key[-_CHECK_LENGTH:]
    return body.isalnum() and check == _check(body)


def digest(key: str) -> bytes:
    """Return what is stored of *key*. A plain SHA-256 will do: nobody can guess 256 random bits."""
    return hashlib.sha256(key.encode()).digest()


def _check(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECK_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
