"""
One leader does what must be done once in the whole deployment: rescue, staging, upkeep.

Leading is a row with a term that lapses by the database's clock; a leader renews it long before, and by its own
monotonic clock stops trusting it a second before it would lapse. Two leaders for a moment do no harm: each duty is a
transaction under its own advisory lock, and decides from what is in the tables.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import IntEnum, unique

import asyncpg

from taskflow.db.pool import DATABASE_ERRORS, OUTAGE_ERRORS, Database
from taskflow.engine.job import WorkerId
from taskflow.engine.record import Term
from taskflow.engine.store import Store
from taskflow.kernel.backoff import reconnect_waits_s
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.metrics import LEADER

NAME = "engine"
TERM_S = 8.0
RENEW_S = 2.0
TRUST_MARGIN_S = 1.0
RECONNECT_CAP_S = 0.5

_log = get_logger(__name__)


@unique
class Duty(IntEnum):
    """What has a lock of its own, by the lock's number; 0 and 100 are other locks of the engine."""

    REAP = 1
    STAGE = 2
    SCHEDULE = 5
    EXPIRE = 6
    TALLY = 7
    DEADLINES = 8
    RETAIN = 9


class Leader:
    """`run` campaigns for ever; `held_s` says for how long this process has led without a lapse."""

    def __init__(self, database: Database, store: Store, holder: WorkerId) -> None:
        self._database = database
        self._store = store
        self._holder = holder
        self._term: Term | None = None
        self._asked_s = 0.0  # when the renewal that gave _term was sent, by the monotonic clock
        self._asking = asyncio.Lock()  # an answer from before a resignation would bring the term back
        self.elected = asyncio.Event()

    @property
    def held_s(self) -> float | None:
        """Seconds since this term began; None while this process does not lead, or cannot be sure that it does."""
        age_s = time.monotonic() - self._asked_s
        if self._term is None or age_s > TERM_S - TRUST_MARGIN_S:
            return None
        return self._term.held_s + age_s

    async def run(self) -> None:
        waits_s = reconnect_waits_s(cap_s=RECONNECT_CAP_S)
        while True:
            try:
                await self._renew()
            except DATABASE_ERRORS:
                await asyncio.sleep(next(waits_s))
                continue
            waits_s = reconnect_waits_s(cap_s=RECONNECT_CAP_S)
            await asyncio.sleep(RENEW_S)

    async def _renew(self) -> None:
        async with self._asking:
            asked_s = time.monotonic()
            async with self._database.acquire() as connection:
                term = await self._store.lead(connection, NAME, self._holder, term_s=TERM_S)
            self._note(term, asked_s)

    async def resign(self) -> None:
        """Let somebody else lead at once. Harmless if this process does not lead."""
        async with self._asking:
            self._term = None
            LEADER.set(0)
            with suppress(*DATABASE_ERRORS):
                async with self._database.acquire() as connection:
                    await self._store.resign(connection, NAME, self._holder)

    def _note(self, term: Term | None, asked_s: float) -> None:
        before = self._term
        self._term, self._asked_s = term, asked_s
        if term is not None and (before is None or before.term != term.term):
            _log.info("taskflow.leader.start", term=term.term)
        elif term is None and before is not None:
            _log.info("taskflow.leader.stop", term=before.term)
        LEADER.set(0 if term is None else 1)
        if term is None:
            self.elected.clear()
        else:
            self.elected.set()


async def run_duty(leader: Leader, name: str, tick: Callable[[], Awaitable[float]]) -> None:
    """
    Call *tick* for ever while this process leads; it returns the seconds until it wants to be called again.

    A database that is away, or a statement that fails, costs a pause and a log line, never the loop.
    """
    waits_s = reconnect_waits_s(cap_s=RECONNECT_CAP_S)
    while True:
        await leader.elected.wait()
        try:
            wait_s = await tick()
            waits_s = reconnect_waits_s(cap_s=RECONNECT_CAP_S)
        except OUTAGE_ERRORS:
            wait_s = next(waits_s)
        except asyncpg.PostgresError as error:
            _log.error("taskflow.duty.exception", duty=name, error=str(error))
            wait_s = 1.0
        await asyncio.sleep(wait_s)
