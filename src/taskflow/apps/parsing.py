"""
How the texts of settings are read. Each function takes a text, or returns what does, and gives the value; a ValueError
says what the text must be.
"""

from collections.abc import Callable
from math import ceil
from pathlib import Path
from urllib.parse import urlsplit

from taskflow.http.secret import MIN_SECRET_BYTES
from taskflow.kernel.bucket import MAX_BURST, MAX_RATE, MIN_RATE, NO_LIMIT, Limit


def whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def milliseconds(least: int, most: int) -> Callable[[str], float]:
    parse = whole(least, most)
    return lambda text: parse(text) / 1000


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be {' or '.join(choices)}")
        return text

    return parse


def url(*schemes: str) -> Callable[[str], str | None]:
    def parse(text: str) -> str | None:
        if not text:
            return None
        if urlsplit(text).scheme not in schemes or not urlsplit(text).netloc:
            raise ValueError(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)} and name a host")
        return text

    return parse


def names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def origins(text: str) -> tuple[str, ...]:
    found = names(text)
    for one in found:
        parts = urlsplit(one)
        if one != "*" and (parts.scheme not in {"http", "https"} or one != f"{parts.scheme}://{parts.netloc}"):
            raise ValueError(f"must be origins like https://app.example.org, separated by commas; {one!r} is not one")
    return found


def origin(text: str) -> str | None:
    if not text:
        return None
    try:
        parts = urlsplit(text)
        is_origin = parts.port != 0 and bool(parts.hostname) and text == f"{parts.scheme}://{parts.netloc}"
    except ValueError:  # a port or an address that is none
        is_origin = False
    if not is_origin or parts.scheme not in {"http", "https"} or set(text) & set(" @\\") or not text.isascii():
        raise ValueError("must be an origin like https://tasks.example.org, without a path")
    return text


def secret(text: str) -> str | None:
    if text and len(text.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"must have at least {MIN_SECRET_BYTES} bytes")
    return text or None


def given(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def mail_address(text: str) -> str:
    name, _, host = text.rpartition("@")
    if not name or not host or not text.isprintable() or any(char in text for char in " <>"):
        raise ValueError("must be a bare mail address, name@host")
    return text


def directory(text: str) -> Path:
    return Path(given(text)).expanduser().absolute()


def limit(text: str) -> Limit | None:
    if not text:
        return None
    if text == "0":
        return NO_LIMIT
    rate, _, burst = text.partition(":")
    try:
        if not set(text) <= set("0123456789.:"):
            raise ValueError  # noqa: TRY301 -- the same words for all of them
        return Limit(float(rate), int(burst) if ":" in text else max(1, ceil(float(rate))))
    except ValueError:
        raise ValueError(
            f"must be 0, or RATE or RATE:BURST like 100:500, where RATE is {MIN_RATE} to {MAX_RATE} requests per "
            f"second and BURST a whole number, no less than RATE and {MAX_BURST} at most"
        ) from None
