"""
Who meets whom: each scenario sets an empty database up and gives the operations that run side by side there.

What must be true of each is in `state` and in the promises of the operations; a scenario adds what only it knows.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias

from tests.engine.interleavings import operations as op
from tests.engine.interleavings.ground import KINDS, Ground, Operation
from tests.engine.interleavings.operations import named
from tests.engine.interleavings.orders import Turn
from tests.engine.interleavings.state import GONE, TWICE, State
from tests.engine.worksite import QUEUE, failed, succeeded

from taskflow.engine import policy
from taskflow.engine.job import Claim, Enqueued, JobId, UniqueScope

Arrange: TypeAlias = Callable[[Ground], Awaitable[Sequence[Operation]]]

LATER = timedelta(seconds=30)


@dataclass(frozen=True)
class Played:
    """What happened when the operations of a scenario ran in one order."""

    turns: Sequence[Turn]
    answers: Sequence[Any]
    final: State

    def given_out(self) -> list[Claim]:
        return [item for answer in self.answers if isinstance(answer, list) for item in answer if type(item) is Claim]


Judge: TypeAlias = Callable[[Played], Iterable[str]]


def nothing_more(_played: Played) -> Iterable[str]:
    return ()


@dataclass(frozen=True)
class Scenario:
    """
    See the module.

    Args:
        patches: of statements that are another text here: the name, what is replaced, and by what.
        shared: statements that elsewhere are no turns, and that make a difference here.
        is_open: whether one can look at the tables in the middle of it; not while one of them is locked.
    """

    name: str
    arrange: Arrange
    judge: Judge = nothing_more
    patches: Sequence[tuple[str, str, str]] = ()
    shared: frozenset[str] = frozenset()
    is_open: bool = True


# Claims --------------------------------------------------------------------------------------------------------------


async def two_claims(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit_many(3)
    return op.claim(ground, 2), op.claim(ground, 2)


async def two_claims_of_a_limited_queue(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit_many(4)
    await ground.store.set_queue(ground.observer, QUEUE, limits=True, concurrency=3)
    return op.claim(ground, 2), op.claim(ground, 2)


def three_jobs(played: Played) -> Iterator[str]:
    """Of what there is to be given out, all is given out."""
    if len(played.given_out()) != 3:
        yield f"progress: {len(played.given_out())} of 3 jobs were given out"


def three_jobs_at_once(played: Played) -> Iterator[str]:
    """And neither claim holds up the other."""
    yield from three_jobs(played)
    if any(turn.waits for turn in played.turns):
        yield "progress: a claim waited for another one"


async def claim_and_cancel(ground: Ground) -> Sequence[Operation]:
    job_id = await ground.site.submit(callback_url=op.URL)
    return op.claim(ground), op.cancel(job_id)


async def claim_and_pause(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit_many(2)
    return op.claim(ground), op.pause()


def nothing_after_the_pause(played: Played) -> Iterator[str]:
    """A claim that began after the pause was committed has nothing."""
    paused = next(n for n, turn in enumerate(played.turns) if (turn.letter, turn.statement) == ("B", "commit"))
    claimed = next(n for n, turn in enumerate(played.turns) if turn.letter == "A")
    if claimed > paused and played.given_out():
        yield f"pause: {len(played.given_out())} jobs were given out after the pause"


async def claim_and_limit(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit_many(2)
    return op.limit(1), op.claim(ground), op.claim(ground)


async def claim_and_expire(ground: Ground) -> Sequence[Operation]:
    """One job is over its time, one is not, and one is over it by the time the leader looks."""
    await ground.site.submit(expires_after=timedelta(seconds=1), callback_url=op.URL)
    await ground.site.submit()
    await ground.site.submit(expires_after=timedelta(seconds=2, milliseconds=4))
    ground.clock.advance(seconds=2)
    return op.claim(ground), op.EXPIRE


async def claim_and_thin_out(ground: Ground) -> Sequence[Operation]:
    """Of yesterday's bodies three belong to nothing any more, and one waits."""
    today = ground.clock.now
    ground.clock.advance(seconds=-86400)
    yesterday = ground.clock.now
    gone = [await ground.site.submit(tags=(GONE,)) for _ in range(4)]
    await ground.observer.execute("DELETE FROM taskflow.ready WHERE job_id = ANY($1)", gone)
    await ground.site.submit(tags=("needed",))
    ground.clock.now = today
    return op.claim(ground), op.thin_out(ground, yesterday)


async def claim_and_change(ground: Ground) -> Sequence[Operation]:
    job_id = await ground.site.submit(unique_key="k", unique_scope=UniqueScope.UNTIL_CLAIMED)
    return op.claim(ground), op.change(job_id, priority=9, run_after=LATER)


async def claim_and_unique_submit(ground: Ground) -> Sequence[Operation]:
    """The claim frees the key that the submit wants."""
    wanted = partial(named, unique_key="k", unique_scope=UniqueScope.UNTIL_CLAIMED)
    await ground.store.enqueue(ground.observer, [wanted("before")])
    return op.claim(ground), op.submit(ground, wanted("after"))


async def claim_of_a_dead_worker(ground: Ground) -> Sequence[Operation]:
    """A claim that was on its way when its worker was declared dead."""
    await ground.site.submit_many(2)
    silent = ground.site.worker_id
    await ground.claim_of_the_dead(1)
    return op.claim(ground, worker_id=silent), op.REAP


# Ends ----------------------------------------------------------------------------------------------------------------


async def complete_and_rescue(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit_many(2)
    one, _ = await ground.claim_of_the_dead()
    return op.flush(ground, succeeded(one)), op.REAP


async def complete_and_rescue_with_consequences(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit_many(1, callback_url=op.URL, unique_key="k")
    (one,) = await ground.claim_of_the_dead()
    return op.flush(ground, succeeded(one)), op.REAP


async def complete_in_own_transaction_and_rescue(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit_many(2, callback_url=op.URL)
    one, _ = await ground.claim_of_the_dead()
    return op.complete_in_own_transaction(ground, succeeded(one)), op.REAP


async def complete_and_cancel(ground: Ground) -> Sequence[Operation]:
    (job_id, _) = await ground.site.submit_many(2)
    one, _ = await ground.site.claim()
    return op.flush(ground, succeeded(one)), op.cancel(job_id)


async def retry_and_cancel(ground: Ground) -> Sequence[Operation]:
    """The attempt failed and the job would run again; asked to stop, it must not."""
    (job_id, _) = await ground.site.submit_many(2, unique_key=None, retries=2)
    one, _ = await ground.site.claim()
    return op.flush(ground, failed(one)), op.cancel(job_id)


async def flush_sent_twice(ground: Ground) -> Sequence[Operation]:
    """The first try still runs when the second one comes."""
    await ground.site.submit_many(2)
    claims = await ground.site.claim()
    outcomes = [succeeded(claims[0]), failed(claims[1])]
    return op.flush(ground, *outcomes, name="flush"), op.flush(ground, *outcomes, name="flush again")


async def two_flushes_of_one_lease(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit_many(3)
    one, two, _ = await ground.site.claim()
    return op.flush(ground, succeeded(one)), op.flush(ground, failed(two))


async def two_outcomes_of_one_attempt(ground: Ground) -> Sequence[Operation]:
    """A handler came to its end while its worker was told to hand everything back."""
    await ground.site.submit_many(2)
    one, _ = await ground.site.claim()
    return op.flush(ground, succeeded(one)), op.flush(ground, policy.handed_back(one))


async def hand_back_and_rescue(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit_many(2)
    claims = await ground.claim_of_the_dead()
    return op.flush(ground, *map(policy.handed_back, claims)), op.REAP


async def sign_off_and_rescue(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit_many(2)
    claims = await ground.claim_of_the_dead()
    return op.return_leases(ground, *claims), op.REAP


async def hand_back_and_cancel(ground: Ground) -> Sequence[Operation]:
    job_id = await ground.site.submit(callback_url=op.URL)
    (one,) = await ground.site.claim()
    return op.return_leases(ground, one), op.cancel(job_id)


async def complete_and_unique_submit(ground: Ground) -> Sequence[Operation]:
    """The end frees the key that the submit wants."""
    await ground.store.enqueue(ground.observer, [named("before", unique_key="k")])
    (one,) = await ground.site.claim()
    return op.flush(ground, succeeded(one)), op.submit(ground, named("after", unique_key="k"))


async def complete_and_fold(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit_many(2)
    one, two = await ground.site.claim()
    await ground.store.complete(ground.observer, [succeeded(one)])
    return op.flush(ground, succeeded(two)), op.fold(ground)


# Jobs that wait ------------------------------------------------------------------------------------------------------


async def stage_and_run_now(ground: Ground) -> Sequence[Operation]:
    job_id = await ground.site.submit(run_after=LATER)
    ground.clock.advance(seconds=31)
    return op.STAGE, op.run_now(job_id)


async def stage_and_cancel(ground: Ground) -> Sequence[Operation]:
    job_id = await ground.site.submit(run_after=LATER)
    ground.clock.advance(seconds=31)
    return op.STAGE, op.cancel(job_id, attempt=0)


async def stage_and_change(ground: Ground) -> Sequence[Operation]:
    job_id = await ground.site.submit(run_after=LATER)
    ground.clock.advance(seconds=31)
    return op.STAGE, op.change(job_id, run_after=LATER)


async def stage_and_expire(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit(run_after=LATER, expires_after=timedelta(seconds=40))
    ground.clock.advance(seconds=41)
    return op.STAGE, op.EXPIRE


async def two_cancels(ground: Ground) -> Sequence[Operation]:
    job_id = await ground.site.submit()
    return op.cancel(job_id), op.cancel(job_id)


async def unique_submits(ground: Ground) -> Sequence[Operation]:
    return tuple(op.submit(ground, named(tag, unique_key="k")) for tag in "ab")


async def unique_submits_of_several(ground: Ground) -> Sequence[Operation]:
    """Each has the other's keys, in the other order."""
    one, two = named("a", unique_key="k"), named("b", unique_key="l")
    return op.submit(ground, one, two), op.submit(ground, two, one)


def each_key_once(played: Played) -> Iterator[str]:
    answers = [item for answer in played.answers if isinstance(answer, list) for item in answer]
    stored = [item.id for item in answers if type(item) is Enqueued and not item.duplicate]
    if len(played.final.jobs or ()) != len(stored) or {item.id for item in answers} != set(stored):
        yield f"answer: stored are {stored}, answered {[(item.id, item.duplicate) for item in answers]}"


async def failed_job(ground: Ground, **fields: Any) -> JobId:
    job_id = await ground.site.submit(kind=TWICE, retries=0, **fields)
    await ground.site.fail(await ground.site.claim_one(kinds=KINDS))
    return job_id


def counted_each_time(played: Played) -> Iterator[str]:
    """It failed; it was replayed at most once; and it has ended again, or was deleted, or is a failure still."""
    counted = {count.state: count.jobs for count in played.final.counts or ()}
    ends = Counter(place.place for place in played.final.places or ())
    if counted != {"failed": 1} | {state: n for state, n in ends.items() if state != "failed"}:
        yield f"count: failed once, then ended as {dict(ends)}, counted {counted}"


async def two_replays(ground: Ground) -> Sequence[Operation]:
    job_id = await failed_job(ground)
    return op.replay(job_id), op.replay(job_id)


async def replay_and_delete(ground: Ground) -> Sequence[Operation]:
    job_id = await failed_job(ground)
    return op.replay(job_id), op.delete(ground, job_id)


async def replay_and_unique_submit(ground: Ground) -> Sequence[Operation]:
    """The replay wants the key that the submit takes."""
    job_id = await failed_job(ground, unique_key="k")
    return op.replay(job_id), op.submit(ground, named("after", unique_key="k", kind=TWICE))


# Schedules -----------------------------------------------------------------------------------------------------------


async def two_leaders_fire(ground: Ground) -> Sequence[Operation]:
    await op.schedule(ground)
    ground.clock.advance(seconds=61)
    return op.FIRE, op.FIRE


def fired_once(played: Played) -> Iterator[str]:
    outcomes = [tick.outcome for tick in played.final.ticks or ()]
    if outcomes != ["fired"]:
        yield f"tick: the instant came to {outcomes}"


# Three at once -------------------------------------------------------------------------------------------------------


async def complete_rescue_and_cancel(ground: Ground) -> Sequence[Operation]:
    (job_id, _) = await ground.site.submit_many(2, callback_url=op.URL)
    one, two = await ground.claim_of_the_dead()
    return op.flush(ground, succeeded(one), failed(two)), op.REAP, op.cancel(job_id)


async def hand_back_rescue_and_claim(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit_many(2)
    claims = await ground.claim_of_the_dead()
    return op.flush(ground, *map(policy.handed_back, claims)), op.REAP, op.claim(ground)


async def stage_cancel_and_claim(ground: Ground) -> Sequence[Operation]:
    job_id = await ground.site.submit(run_after=LATER, callback_url=op.URL)
    ground.clock.advance(seconds=31)
    return op.STAGE, op.cancel(job_id), op.claim(ground)


async def unique_submits_and_complete(ground: Ground) -> Sequence[Operation]:
    await ground.store.enqueue(ground.observer, [named("before", unique_key="k")])
    (one,) = await ground.site.claim()
    return op.flush(ground, succeeded(one)), *(op.submit(ground, named(tag, unique_key="k")) for tag in "ab")


async def three_claims_of_a_limited_queue(ground: Ground) -> Sequence[Operation]:
    await ground.site.submit_many(4)
    await ground.store.set_queue(ground.observer, QUEUE, limits=True, concurrency=3)
    return tuple(op.claim(ground, 2) for _ in range(3))


async def two_flushes_and_a_cancel(ground: Ground) -> Sequence[Operation]:
    """All of them change one lease."""
    (job_id, *_) = await ground.site.submit_many(3, retries=2)
    one, two, _ = await ground.site.claim()
    return op.flush(ground, failed(one)), op.flush(ground, succeeded(two)), op.cancel(job_id)


async def expire_change_and_claim(ground: Ground) -> Sequence[Operation]:
    job_id = await ground.site.submit(expires_after=timedelta(seconds=1), unique_key="k")
    ground.clock.advance(seconds=2)
    return op.EXPIRE, op.change(job_id, run_after=LATER), op.claim(ground)


NO_DUTY_LOCK = ("try_duty_lock", "pg_try_advisory_xact_lock(723641, $1::integer)", "$1::integer IS NOT NULL")

PAIRS = [
    Scenario("claim, claim", two_claims, three_jobs_at_once),
    Scenario("claim, claim: limited", two_claims_of_a_limited_queue, three_jobs),
    Scenario("claim, cancel", claim_and_cancel),
    Scenario("claim, pause", claim_and_pause, nothing_after_the_pause),
    Scenario("claim, expire", claim_and_expire),
    Scenario("claim, retention", claim_and_thin_out, is_open=False),
    Scenario("claim, change", claim_and_change),
    Scenario("claim, unique submit", claim_and_unique_submit),
    Scenario("claim of a dead worker, rescue", claim_of_a_dead_worker),
    Scenario("complete, rescue", complete_and_rescue),
    Scenario("complete, rescue: consequences", complete_and_rescue_with_consequences),
    Scenario("complete, rescue: own transaction", complete_in_own_transaction_and_rescue),
    Scenario("complete, cancel", complete_and_cancel),
    Scenario("retry, cancel", retry_and_cancel),
    Scenario("flush, flush again", flush_sent_twice),
    Scenario("flush, flush: one lease", two_flushes_of_one_lease),
    Scenario("complete, hand back", two_outcomes_of_one_attempt),
    Scenario("hand back, rescue", hand_back_and_rescue),
    Scenario("hand back, rescue: sign-off", sign_off_and_rescue),
    Scenario("hand back, cancel", hand_back_and_cancel),
    Scenario("complete, unique submit", complete_and_unique_submit),
    Scenario("complete, fold", complete_and_fold),
    Scenario("stage, run now", stage_and_run_now),
    Scenario("stage, cancel", stage_and_cancel),
    Scenario("stage, change", stage_and_change),
    Scenario("stage, expire", stage_and_expire),
    Scenario("cancel, cancel", two_cancels),
    Scenario("unique submit, unique submit", unique_submits, each_key_once),
    Scenario("unique submit, unique submit: several", unique_submits_of_several, each_key_once),
    Scenario("replay, replay", two_replays, counted_each_time),
    Scenario("replay, delete", replay_and_delete, counted_each_time, shared=frozenset({"find_job_body"})),
    Scenario("replay, unique submit", replay_and_unique_submit, counted_each_time),
    Scenario("fire, fire", two_leaders_fire, fired_once, shared=frozenset({"try_duty_lock"})),
    Scenario("fire, fire: no duty lock", two_leaders_fire, fired_once, [NO_DUTY_LOCK]),
]
TRIPLES = [
    Scenario("limit, claim, claim", claim_and_limit),
    Scenario("complete, rescue, cancel", complete_rescue_and_cancel),
    Scenario("hand back, rescue, claim", hand_back_rescue_and_claim),
    Scenario("stage, cancel, claim", stage_cancel_and_claim),
    Scenario("complete, unique submit, unique submit", unique_submits_and_complete),
    Scenario("claim, claim, claim: limited", three_claims_of_a_limited_queue, three_jobs),
    Scenario("flush, flush, cancel", two_flushes_and_a_cancel),
    Scenario("expire, change, claim", expire_change_and_claim),
]
