"""JSON values as types, and what PostgreSQL's `jsonb` asks of them beyond valid JSON."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

JSONValue: TypeAlias = "bool | int | float | str | Sequence[JSONValue] | Mapping[str, JSONValue] | None"
JSONObject: TypeAlias = "Mapping[str, JSONValue]"

MAX_INTEGER_BITS = 4096  # far past what any consumer means, and before conversions to text become slow or refused
MAX_DEPTH = 64  # nesting levels; every consumer of a payload can afford a recursion of that depth


def find_unstorable(value: JSONValue) -> tuple[str, str] | None:
    """
    Return (JSON Pointer, reason) of the first thing in *value* that `jsonb` cannot hold, or None.

    `jsonb` refuses the character U+0000, lone surrogates and numbers outside its range; nesting is bounded by us.
    """
    return None if _is_plainly_storable(value, 0) else _find_unstorable(value, "", 0)


def storable(text: str) -> str:
    """Spell out what PostgreSQL text cannot hold."""
    return text.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode()


def _is_plainly_storable(value: JSONValue, depth: int) -> bool:
    """Say so quickly of what decoded JSON is made of; False means that somebody has to look closely."""
    kind = type(value)
    if kind is str:
        return _is_plain_text(value) or _find_in_text(value, "") is None  # type: ignore[arg-type]
    if kind is dict:
        if depth >= MAX_DEPTH:
            return False
        for key, item in value.items():  # type: ignore[union-attr]
            if type(key) is not str or not (_is_plain_text(key) or _find_in_text(key, "") is None):
                return False
            if not (type(item) is str and _is_plain_text(item)) and not _is_plainly_storable(item, depth + 1):
                return False
        return True
    if kind is list:
        return depth < MAX_DEPTH and all(_is_plainly_storable(item, depth + 1) for item in value)  # type: ignore[union-attr]
    if kind is int:
        return value.bit_length() <= MAX_INTEGER_BITS  # type: ignore[union-attr]
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]
    return value is None or kind is bool


def _is_plain_text(text: str) -> bool:
    return text.isascii() and "\x00" not in text


def _find_unstorable(value: JSONValue, pointer: str, depth: int) -> tuple[str, str] | None:
    if depth > MAX_DEPTH:
        return pointer, f"is nested deeper than {MAX_DEPTH} levels"
    if isinstance(value, str):
        return _find_in_text(value, pointer)
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):  # the type says so; callers without a type checker do not
                return pointer, f"has a key that is no string: {key!r}"  # type: ignore[unreachable]
            at = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            if found := _find_in_text(key, at) or _find_unstorable(item, at, depth + 1):
                return found
        return None
    if isinstance(value, Sequence):
        for index, item in enumerate(value):
            if found := _find_unstorable(item, f"{pointer}/{index}", depth + 1):
                return found
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return pointer, "is not a finite number"
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        return pointer, f"is an integer of more than {MAX_INTEGER_BITS} bits"
    return None


def _find_in_text(text: str, pointer: str) -> tuple[str, str] | None:
    if "\x00" in text:
        return pointer, "holds the character U+0000, which cannot be stored"
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        return pointer, "holds a lone surrogate, which is not valid Unicode"
    return None
