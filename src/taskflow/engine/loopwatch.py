"""
Names the job that blocks the event loop: a thread that looks at the loop from outside.

A handler that does not await for seconds keeps every other job of its process waiting, timeouts included. Nothing in
the loop can say so while it lasts. The thread needs the interpreter to say it: code that holds on to that as well is
named by the supervisor instead, from the board, when it ends the process.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from taskflow.engine.job import Claim
from taskflow.telemetry.log import get_logger

BLOCKED_S = 2.0  # a loop that has not turned for so long is blocked
TICK_S = 0.5

_log = get_logger(__name__)


class LoopWatch:
    """
    See the module. `run` until cancelled, on the loop that is watched.

    Args:
        find: says whose attempt a task is; called from the thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, find: "Callable[[asyncio.Task[Any]], Claim | None]") -> None:
        self._loop = loop
        self._find = find
        self._ticked_s = time.monotonic()
        self._done = threading.Event()

    async def run(self) -> None:
        thread = threading.Thread(target=self._watch, name="taskflow-loop-watch", daemon=True)
        thread.start()
        try:
            while True:
                self._ticked_s = time.monotonic()
                await asyncio.sleep(TICK_S)
        finally:
            self._done.set()

    def _watch(self) -> None:
        named_s: float | None = None  # the tick before the blockage that was named last
        while not self._done.wait(TICK_S):
            ticked_s = self._ticked_s
            blocked_s = time.monotonic() - ticked_s
            if blocked_s < BLOCKED_S or ticked_s == named_s:
                continue
            named_s = ticked_s
            task = asyncio.current_task(self._loop)
            claim = self._find(task) if task is not None else None
            _log.warning(
                "taskflow.loop.blocked",
                job_id=str(claim.job_id) if claim else None,
                kind=claim.kind if claim else None,
                blocked_s=round(blocked_s, 1),
            )
