"""What the executor and the isolators know of each other."""

import asyncio
from typing import Any, Protocol

from taskflow.engine.context import JobContext, Sink
from taskflow.engine.isolation.ending import Ending
from taskflow.engine.job import Claim
from taskflow.engine.registry import Kind


class Call:
    """One attempt's call of its handler. *task* is the attempt's own, which awaits `Isolator.call`."""

    __slots__ = ("claim", "context", "kind", "task")

    def __init__(self, claim: Claim, kind: Kind[Any], context: JobContext) -> None:
        self.claim = claim
        self.kind = kind
        self.context = context
        self.task: asyncio.Task[None] | None = None

    def hand_over(self) -> None:
        """Said by the isolator before a process of its own hears of the call: from then on it may do what it likes."""

    def begin(self) -> None:
        """Said by the isolator the moment the handler is called: from now on its time counts."""


class Isolator(Protocol):
    """Runs handlers in one way. Its methods are called on the worker's event loop."""

    @property
    def sink(self) -> Sink:
        """What the context of a handler writes to; fit for where the handler runs."""

    async def call(self, call: Call) -> Ending:
        """
        Call the handler and return what that came to.

        Raises:
            CancelledError: the task was cancelled; so ends a call whose handler has not begun.
            BaseException: what the handler raised, if it ran on this loop.
        """

    def stop(self, call: Call) -> None:
        """Ask a call to end, whether its handler has begun or not; its context says so already. Returns at once."""

    def end(self, call: Call) -> bool:
        """Make it end, because it did not within its grace. False: that cannot be done here, and costs the process."""

    async def close(self) -> None:
        """Leave nothing behind. No call is running that anybody waits for."""
