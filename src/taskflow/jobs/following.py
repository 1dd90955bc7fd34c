"""
Following the logs of many jobs with one look at the database for all of them.

Each follower says how far it has read and waits. One task looks for all who wait, every `LOOK_S`, by two statements on
one connection; while nobody waits it does nothing. So a hundred followers cost what one does, the pool keeps its
connections for requests, and a slow reader is not looked for until it has read. Why not NOTIFY: it would cost every
flush of every worker a wake-up, whether anybody follows or not, and would still need this look as its safety net.
"""

import asyncio
from dataclasses import dataclass

from taskflow.db.pool import DATABASE_ERRORS
from taskflow.engine.client import Engine
from taskflow.engine.record import LogNews, LogPosition
from taskflow.telemetry.log import get_logger

LOOK_S = 0.25  # workers write lines four times a second
MAX_LINES = 200  # of one job at one look; a reader who has more to come does not wait for the next

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Wish:
    position: LogPosition
    news: "asyncio.Future[LogNews]"


class LogFollowing:
    """`next` waits for what `run` finds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._wishes: list[_Wish] = []
        self._wanted = asyncio.Event()

    async def next(self, position: LogPosition) -> LogNews:
        """Return lines after *position* or the job's end, as soon as there is either."""
        wish = _Wish(position, asyncio.get_running_loop().create_future())
        self._wishes.append(wish)
        self._wanted.set()
        return await wish.news

    async def run(self) -> None:
        """Look for those who wait, for ever."""
        away = False
        while True:
            await self._wanted.wait()
            await asyncio.sleep(LOOK_S)
            waiting = [wish for wish in self._wishes if not wish.news.done()]
            self._wishes = list(waiting)  # its own: others wish while the database is asked
            if not waiting:
                self._wanted.clear()
                continue
            try:
                found = await self._engine.follow_logs([wish.position for wish in waiting], limit=MAX_LINES)
            except DATABASE_ERRORS as error:
                if not away:
                    _log.warning("taskflow.follow.retry", error=type(error).__name__)
                away = True
                continue
            away = False
            for wish, news in zip(waiting, found, strict=True):
                if (news.lines or news.end is not None) and not wish.news.done():
                    wish.news.set_result(news)
