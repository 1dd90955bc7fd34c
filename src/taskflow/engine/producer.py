"""
Claims ready jobs for one process: one query for all its queues, never more than it has free places for.

A notification wakes it early; without one it polls, waiting longer each time it finds nothing, up to a second. Queues
take turns at being first, so that none of them starves another. Nothing is fetched ahead: what is claimed starts.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

from taskflow.db.pool import DATABASE_ERRORS, Lend
from taskflow.engine.job import Claim, LeaseId, WorkerId
from taskflow.engine.scan import ScanBound
from taskflow.engine.store import Store, new_lease_ids
from taskflow.kernel.backoff import reconnect_waits_s
from taskflow.telemetry.log import get_logger
from taskflow.telemetry.metrics import CLAIM_BATCH_JOBS

MAX_BATCH = 500
POLL_FIRST_S = 0.05
POLL_CAP_S = 1.0
GATHER_S = 0.002  # while most places are taken, wait this long for more of them to come free

_log = get_logger(__name__)


class Producer:
    """
    See the module.

    Args:
        lend: lends a connection to one at a time; best always the same, for every job that is waited for passes here.
        free: how many jobs may be claimed now; 0 while stopping, fenced or behind with writing.
        places: how many there are in all.
        on_claims: takes over the jobs that were claimed.
    """

    def __init__(
        self,
        lend: Lend,
        store: Store,
        *,
        worker_id: WorkerId,
        incarnation: int,
        queues: Sequence[str],
        kinds: Sequence[str],
        places: int,
        free: Callable[[], int],
        on_claims: Callable[[Sequence[Claim]], None],
    ) -> None:
        self._lend = lend
        self._store = store
        self._worker_id = worker_id
        self._incarnation = incarnation
        self._queues = list(queues)
        self._kinds = list(kinds)
        self._places = places
        self._free = free
        self._on_claims = on_claims
        self._bound = ScanBound()
        self._woken = asyncio.Event()
        self._freed = asyncio.Event()
        self._rng = random.Random()  # noqa: S311 -- spreads polls, guards nothing
        self.claiming: Sequence[LeaseId] = ()  # of a claim whose answer is not known yet

    def wake(self, queue: str) -> None:
        """There may be ready jobs in *queue*; an empty name means that nobody knows."""
        if not queue or queue in self._queues:
            self._woken.set()

    def place_freed(self) -> None:
        self._freed.set()

    async def run(self) -> None:
        poll_s = POLL_FIRST_S
        waits_s = reconnect_waits_s()
        while True:
            limit = await self._wait_for_places()
            self._woken.clear()
            try:
                claims = await self._claim(limit)
                waits_s = reconnect_waits_s()
            except DATABASE_ERRORS as error:
                _log.warning("taskflow.claim.retry", error=type(error).__name__)
                await asyncio.sleep(next(waits_s))
                continue
            if claims:
                CLAIM_BATCH_JOBS.observe(len(claims))
                self._on_claims(claims)
                poll_s = POLL_FIRST_S
            if len(claims) < limit:
                poll_s = await self._wait_for_work(poll_s)

    async def _claim(self, limit: int) -> list[Claim]:
        self._queues.append(self._queues.pop(0))
        self.claiming = new_lease_ids(self._queues)
        try:
            async with self._lend() as connection:
                return await self._store.claim(
                    connection,
                    worker_id=self._worker_id,
                    incarnation=self._incarnation,
                    queues=self._queues,
                    kinds=self._kinds,
                    limit=limit,
                    lease_ids=self.claiming,
                    bound=self._bound,
                )
        finally:
            # From here on a lease of that id which nobody runs is one whose answer was lost: `worker` returns it.
            self.claiming = ()

    async def _wait_for_places(self) -> int:
        gathered = False
        while True:
            self._freed.clear()
            free = self._free()
            if free * 2 >= self._places or (gathered and free > 0):
                return min(free, MAX_BATCH)
            if free == 0:
                await self._freed.wait()
            await asyncio.sleep(GATHER_S)
            gathered = True

    async def _wait_for_work(self, poll_s: float) -> float:
        """Sleep until woken or the poll is due; return the next poll's wait."""
        try:
            async with asyncio.timeout(poll_s * self._rng.uniform(0.8, 1.0)):
                await self._woken.wait()
        except TimeoutError:
            return min(poll_s * 2, POLL_CAP_S)
        return POLL_FIRST_S
