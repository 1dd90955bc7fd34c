"""
Ends attempts of workers over HTTP that are over and were not ended by their worker: the leader's duty.

Our own worker processes stop a job at its timeout, and live under a supervisor that sees to it. Somebody else's program
may forget a job, or hang, while its heartbeat goes on. So `GRACE_S` after a job's timeout the attempt is ended as a
timeout, charged and retried like any other; and one that was asked to cancel so long ago is cancelled. The lease fences
it: what the worker still says about the attempt is refused, and its next heartbeat tells it that the job is lost.
"""

from collections.abc import Callable, Iterable

from taskflow.db.pool import Database
from taskflow.engine import policy
from taskflow.engine.agenda import GRACE_S, Agenda
from taskflow.engine.job import JobError, Outcome, OutcomeKind
from taskflow.engine.leader import Duty, Leader
from taskflow.engine.store import Store
from taskflow.telemetry.log import get_logger

DUTY = Duty.DEADLINES
PAUSE_S = 2.0
MAX_ATTEMPTS = 500  # per transaction

_log = get_logger(__name__)


class Deadlines:
    """`tick` looks once; see `leader.run_duty`."""

    def __init__(
        self, database: Database, store: Store, leader: Leader, agenda: Agenda, *, wake: Callable[[Iterable[str]], None]
    ) -> None:
        self._database = database
        self._store = store
        self._leader = leader
        self._agenda = agenda
        self._wake = wake

    async def tick(self) -> float:
        if self._leader.held_s is None:
            return PAUSE_S
        if not (await self._agenda.look()).has_old_remote_lease:
            return PAUSE_S
        async with self._database.acquire() as connection:  # hardly ever is there one: a look costs less than a turn
            if not await self._store.find_overdue(connection, grace_s=GRACE_S, limit=1):
                return PAUSE_S
        return 0.0 if await self.enforce() == MAX_ATTEMPTS else PAUSE_S

    async def enforce(self) -> int:
        """End what is overdue, in one transaction; return how many attempts."""
        async with self._database.transaction() as connection:
            if not await self._store.try_duty_lock(connection, DUTY):
                return 0
            overdue = await self._store.find_overdue(connection, grace_s=GRACE_S, limit=MAX_ATTEMPTS)
            if not overdue:
                return 0
            cancelled = {(item.lease_id, item.position) for item in overdue if item.is_cancelled}
            claims = await self._store.find_claims(connection, [(item.lease_id, item.position) for item in overdue])
            outcomes: list[Outcome] = []
            for claim, age_s in claims:
                if (claim.lease_id, claim.position) in cancelled:
                    outcomes.append(policy.cancelled(claim, age_s))
                else:
                    said = f"not ended by its worker {age_s - claim.timeout_s:.0f} s after the job's timeout"
                    error = JobError("Timeout", said)
                    outcomes.append(policy.failed(claim, OutcomeKind.TIMEOUT, error, age_s))
            refused = await self._store.finish(connection, outcomes)
        self._wake(policy.queues_to_wake([claim for claim, _ in claims]))
        _log.warning("taskflow.deadline.stop", jobs=len(outcomes) - len(refused))
        return len(overdue)
