"""
What is cut off in the middle: each operation that writes, alone on an empty database that is set up for it.

What a repeat comes to is said here. Most operations change nothing more when they are asked again; a submit without a
unique key and a claim do, as they must.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

from tests.engine.interleavings import operations as op
from tests.engine.interleavings.ground import Ground, Operation
from tests.engine.interleavings.operations import named
from tests.engine.interleavings.scenarios import LATER, failed_job
from tests.engine.interleavings.state import TWICE
from tests.engine.worksite import OOPS, QUEUE, failed, succeeded

from taskflow.engine import policy
from taskflow.engine.job import NewJob, UniqueScope

Arrange: TypeAlias = Callable[[Ground], Awaitable[Operation]]


@dataclass(frozen=True)
class Crashed:
    """
    An operation that is cut off.

    Args:
        adds: asked again, it does more of the same.
    """

    name: str
    arrange: Arrange
    adds: bool = False


async def submit_one(ground: Ground) -> Operation:
    return op.submit(ground, named("a"))


async def submit_many(ground: Ground) -> Operation:
    return op.submit(ground, named("a"), named("b"))


async def submit_all_sorts(ground: Ground) -> Operation:
    return op.submit(
        ground,
        named("a", run_after=LATER),
        named("b", callback_url=op.URL),
        named("c", expires_after=timedelta(days=1)),
    )


async def submit_by_copy(ground: Ground) -> Operation:
    return op.submit(ground, *map(named, "abcd"))


async def submit_unique(ground: Ground) -> Operation:
    return op.submit(ground, named("a", unique_key="k"), named("b", unique_key="l"), named("c", unique_key="k"))


async def claim(ground: Ground) -> Operation:
    await ground.store.enqueue(ground.observer, [named("a"), named("b", callback_url=op.URL)])
    return op.claim_after_a_look(ground)


async def claim_of_a_limited_queue(ground: Ground) -> Operation:
    await ground.store.set_queue(ground.observer, QUEUE, limits=True, concurrency=1)
    wanted = [named(tag, unique_key=tag, unique_scope=UniqueScope.UNTIL_CLAIMED) for tag in "ab"]
    await ground.store.enqueue(ground.observer, wanted)
    return op.claim_after_a_look(ground)


async def complete(ground: Ground) -> Operation:
    await ground.store.enqueue(ground.observer, [named("a"), named("b")])
    one, _ = await ground.site.claim()
    return op.flush(ground, succeeded(one))


async def complete_with_consequences(ground: Ground) -> Operation:
    await ground.store.enqueue(ground.observer, [named("a", unique_key="k", callback_url=op.URL)])
    return op.flush(ground, succeeded(await ground.site.claim_one()))


async def complete_in_own_transaction(ground: Ground) -> Operation:
    await ground.store.enqueue(ground.observer, [named("a", unique_key="k", callback_url=op.URL)])
    return op.complete_in_own_transaction(ground, succeeded(await ground.site.claim_one()), is_repeated=True)


async def write_down(ground: Ground) -> Operation:
    """Everything that attempts come to, plain and with consequences: five statements, four commits."""
    fields: list[NewJob] = [named("a"), named("b", retries=1), named("c"), named("d", callback_url=op.URL)]
    await ground.store.enqueue(ground.observer, [*fields, named("e", unique_key="k")])
    a, b, c, d, e = await ground.site.claim()
    return op.write_down(
        ground,
        *(succeeded(a), failed(b), policy.failed_for_good(c, OOPS, 0.5), succeeded(d), policy.snoozed(e, 5.0, 0.5)),
    )


async def retry(ground: Ground) -> Operation:
    await ground.store.enqueue(ground.observer, [named("a", retries=1)])
    return op.flush(ground, failed(await ground.site.claim_one()))


async def fail_with_consequences(ground: Ground) -> Operation:
    await ground.store.enqueue(ground.observer, [named("a", retries=0, unique_key="k", callback_url=op.URL)])
    return op.flush(ground, failed(await ground.site.claim_one()))


async def cancel_waiting(ground: Ground) -> Operation:
    return op.cancel(await ground.site.submit(run_after=LATER))


async def cancel_waiting_with_consequences(ground: Ground) -> Operation:
    return op.cancel(await ground.site.submit(unique_key="k", callback_url=op.URL))


async def cancel_active(ground: Ground) -> Operation:
    job_id = await ground.site.submit()
    await ground.site.claim()
    return op.cancel(job_id)


async def rescue(ground: Ground) -> Operation:
    """One of the jobs was asked to stop, and has consequences."""
    await ground.store.enqueue(ground.observer, [named("a"), named("b", callback_url=op.URL)])
    _, b = await ground.claim_of_the_dead()
    await ground.site.cancel(b.job_id)
    return op.REAP


async def hand_back(ground: Ground) -> Operation:
    await ground.store.enqueue(ground.observer, [named("a"), named("b")])
    return op.write_down(ground, *map(policy.handed_back, await ground.site.claim()))


async def sign_off(ground: Ground) -> Operation:
    await ground.store.enqueue(ground.observer, [named("a"), named("b", callback_url=op.URL)])
    claims = await ground.site.claim()
    await ground.site.cancel(claims[1].job_id)
    return op.return_leases(ground, *claims)


async def stage(ground: Ground) -> Operation:
    await ground.store.enqueue(ground.observer, [named("a", run_after=LATER), named("b", run_after=LATER)])
    ground.clock.advance(seconds=31)
    return op.STAGE


async def run_now(ground: Ground) -> Operation:
    return op.run_now(await ground.site.submit(run_after=LATER))


async def change(ground: Ground) -> Operation:
    return op.change(await ground.site.submit(run_after=LATER), priority=9, run_after=2 * LATER)


async def replay(ground: Ground) -> Operation:
    return op.replay(await failed_job(ground, unique_key="k"))


async def expire(ground: Ground) -> Operation:
    over = timedelta(seconds=1)
    await ground.store.enqueue(
        ground.observer, [named("a", expires_after=over, callback_url=op.URL), named("b", expires_after=over)]
    )
    ground.clock.advance(seconds=2)
    return op.EXPIRE


async def fire(ground: Ground) -> Operation:
    await op.schedule(ground)
    await op.schedule(ground, "hourly", unique_key="k")
    ground.clock.advance(seconds=61)
    return op.FIRE


async def fold(ground: Ground) -> Operation:
    await ground.store.enqueue(ground.observer, [named("a"), named("b")])
    await ground.store.complete(ground.observer, [succeeded(claim) for claim in await ground.site.claim()])
    return op.fold(ground)


async def delete(ground: Ground) -> Operation:
    await ground.store.enqueue(ground.observer, [named("a", kind=TWICE)])
    claim = await ground.site.claim_one(kinds=[TWICE])
    await ground.store.complete(ground.observer, [succeeded(claim)])
    return op.delete(ground, claim.job_id)


CRASHED = [
    Crashed("submit one", submit_one, adds=True),
    Crashed("submit many", submit_many, adds=True),
    Crashed("submit all sorts", submit_all_sorts, adds=True),
    Crashed("submit by COPY", submit_by_copy, adds=True),
    Crashed("submit unique", submit_unique),
    Crashed("claim", claim, adds=True),
    Crashed("claim: limited", claim_of_a_limited_queue, adds=True),
    Crashed("complete", complete),
    Crashed("complete: consequences", complete_with_consequences),
    Crashed("complete: own transaction", complete_in_own_transaction),
    Crashed("write down", write_down),
    Crashed("retry", retry),
    Crashed("fail: consequences", fail_with_consequences),
    Crashed("cancel waiting", cancel_waiting),
    Crashed("cancel waiting: consequences", cancel_waiting_with_consequences),
    Crashed("cancel active", cancel_active),
    Crashed("rescue", rescue),
    Crashed("hand back", hand_back),
    Crashed("sign off", sign_off),
    Crashed("stage", stage),
    Crashed("run now", run_now),
    Crashed("change", change),
    Crashed("replay", replay),
    Crashed("expire", expire),
    Crashed("fire", fire),
    Crashed("fold", fold),
    Crashed("delete", delete),
]
