"""Async handlers on the worker's own event loop: each is a coroutine of its attempt's task. The fast path."""

import msgspec

from taskflow.engine.context import Sink
from taskflow.engine.isolation.base import Call
from taskflow.engine.isolation.ending import Ending, bad_payload, returned


class LoopIsolator:
    """
    See `base.Isolator`.

    A handler is stopped by cancelling its task. One that goes on cannot be taken away from the loop it runs on.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    async def call(self, call: Call) -> Ending:
        try:
            payload = call.kind.decode(call.claim.payload)
        except msgspec.ValidationError as error:
            return bad_payload(error)
        call.begin()
        return returned(await call.kind.handler(call.context, payload))

    def stop(self, call: Call) -> None:
        if call.task is not None:
            call.task.cancel()

    def end(self, call: Call) -> bool:
        return False

    async def close(self) -> None:
        """Nothing is held."""
