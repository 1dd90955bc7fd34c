"""Async handlers on the worker's own event loop: each is a coroutine of its attempt's task. The fast path."""

import asyncio

import msgspec

from taskflow.engine.isolation.base import Call
from taskflow.engine.isolation.ending import Ending, bad_payload, returned


class LoopIsolation:
    """
    See `base.Isolation`.

    A handler is stopped by cancelling its task. One that goes on cannot be taken away from the loop it runs on.
    """

    def __init__(self) -> None:
        self._tasks: dict[Call, asyncio.Task[None]] = {}

    async def call(self, call: Call) -> Ending:
        try:
            payload = call.kind.decode(call.claim.payload)
        except msgspec.ValidationError as error:
            return bad_payload(error)
        call.begin()
        return returned(await call.kind.handler(call.context, payload))

    def stop(self, call: Call) -> None:
        raise NotImplementedError

    def end(self, call: Call) -> bool:
        return False

    async def close(self) -> None:
        pass
