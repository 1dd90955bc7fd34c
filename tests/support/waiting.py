"""Waiting for what other tasks bring about: bounded, and with a name in case it does not come."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

POLL_S = 0.005


@overload
async def eventually(what: str, look: Callable[[], Awaitable[T | None]], *, within_s: float = ...) -> T: ...
@overload
async def eventually(what: str, look: Callable[[], T | None], *, within_s: float = ...) -> T: ...
async def eventually(what: str, look: Callable[[], Any], *, within_s: float = 8.0) -> Any:
    """
    Look until *look* gives something true, and return that.

    Raises:
        AssertionError: it did not within *within_s*; says for what was waited, and what was seen last.
    """
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        value = await seen if isinstance(seen, Awaitable) else seen
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within_s:g} s for {what}, last saw {value!r}")
        await asyncio.sleep(POLL_S)
