"""What the executor and the isolations know of each other."""

from collections.abc import Callable
from typing import Any, Protocol

from taskflow.engine.context import JobContext
from taskflow.engine.isolation.ending import Ending
from taskflow.engine.job import Claim
from taskflow.engine.registry import Kind


class Call(Protocol):
    """One attempt's call of its handler, as an isolation sees it."""

    @property
    def claim(self) -> Claim: ...
    @property
    def kind(self) -> Kind[Any]: ...
    @property
    def context(self) -> JobContext: ...
    @property
    def begin(self) -> Callable[[], None]:
        """Call this on the event loop the moment before the handler is: from then on its time counts."""


class Isolation(Protocol):
    """Runs handlers in one way. Its methods are called on the worker's event loop."""

    async def call(self, call: Call) -> Ending:
        """
        Call the handler and return what that came to.

        Raises:
            CancelledError: the task was cancelled; that is how an attempt ends which has not begun.
            BaseException: whatever the handler raised, where that needs no describing before it is here.
        """

    def stop(self, call: Call) -> None:
        """Ask a handler that has begun to end: its time is over, or somebody wants it to. Returns at once."""

    def end(self, call: Call) -> bool:
        """Make it end, because it did not within its grace. False: that cannot be done, and costs the process."""

    async def close(self) -> None:
        """Leave nothing behind, once no call is running."""
