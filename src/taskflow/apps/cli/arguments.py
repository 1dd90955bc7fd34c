"""What the texts of arguments and options mean."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from taskflow.apps.cli.session import MISUSED, Failure

MAX_INPUT_BYTES = 1024 * 1024  # of a payload's text; the same as of a request to the API

_T = TypeVar("_T")


def given(options: Mapping[str, _T | None]) -> dict[str, _T]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def number(text: str | None) -> int | str | None:
    """Return the whole number that *text* is; else the text, for the service to say what it must be."""
    if text is not None and re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    return text


def read_payload(said: str) -> Any:
    """
    Return the value of a payload's text: JSON, `@file` or `-` for standard input.

    Raises:
        Failure: it cannot be read, is over `MAX_INPUT_BYTES`, or is not JSON.
    """
    import msgspec

    text: str | bytes = said
    if said == "-" or said.startswith("@"):
        place = "standard input" if said == "-" else repr(said[1:])
        try:
            if said == "-":
                text = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
            else:
                with Path(said[1:]).open("rb") as file:
                    text = file.read(MAX_INPUT_BYTES + 1)
        except OSError as error:
            raise Failure(f"PAYLOAD: cannot read {place}: {error.strerror}", MISUSED) from error
        if len(text) > MAX_INPUT_BYTES:
            raise Failure(f"PAYLOAD: {place} is over the limit of {MAX_INPUT_BYTES} bytes", MISUSED)
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise Failure(f"PAYLOAD: must be JSON text, @FILE or -: {reason}", MISUSED) from None
