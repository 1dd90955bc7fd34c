"""Where operations meet: one database that is emptied in a millisecond, connections that stay, a clock that ticks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import uuid4

from tests.engine.interleavings import failpoints
from tests.engine.interleavings.failpoints import OneConnection, SteppedConnection
from tests.engine.interleavings.state import TABLES, TWICE, State, look
from tests.engine.worksite import KIND, QUEUE, Worksite, succeeded
from tests.support.clock import FakeClock

from taskflow.engine.agenda import Agenda
from taskflow.engine.client import Engine
from taskflow.engine.expirer import Expirer
from taskflow.engine.job import DELIVERY_KIND, DELIVERY_QUEUE, Claim, WorkerId
from taskflow.engine.leader import Leader
from taskflow.engine.reaper import Reaper
from taskflow.engine.scheduler import Scheduler
from taskflow.engine.stager import Stager
from taskflow.engine.store import LEASE_S, Store

HANDS = 3
KINDS = (KIND, TWICE, DELIVERY_KIND)
QUEUES = (QUEUE, DELIVERY_QUEUE)
ROUNDS = 20
ROUND_S = 3700.0  # the longest wait between two attempts

EMPTY = "; ".join(f"DELETE FROM taskflow.{table}" for table in TABLES)


class TickingClock(FakeClock):
    """Goes on by a millisecond with each look, so that no two things happen at the same instant."""

    def __call__(self) -> datetime:
        self.advance(seconds=0.001)
        return self.now

    def reset(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Services:
    """The engine's own services, on one connection."""

    database: OneConnection
    engine: Engine
    reaper: Reaper
    stager: Stager
    expirer: Expirer
    scheduler: Scheduler


Run: TypeAlias = Callable[[Services], Coroutine[Any, Any, Any]]
Promise: TypeAlias = Callable[[Any, State], Iterable[str]]


@dataclass(frozen=True)
class Operation:
    """
    Something that a caller, a worker or the leader does, on whichever connection it is given.

    Args:
        promise: what its answer says of how everything ends: gives faults.
        allowed: exceptions that are an answer too.
    """

    name: str
    run: Run
    promise: Promise = lambda _answer, _state: ()
    allowed: tuple[type[BaseException], ...] = ()


@dataclass
class Ground:
    """
    See the module. `site` works on the observer's connection, which no failpoint stops.
    """

    url: str
    observer: SteppedConnection
    hands: list[SteppedConnection]
    clock: TickingClock = field(default_factory=TickingClock)

    def __post_init__(self) -> None:
        self.store = Store(self.clock)
        self.site = Worksite(self.store, self.observer, self.clock)

    async def clear(self) -> None:
        """Leave an empty database with one living worker."""
        for number, hand in enumerate(self.hands):
            if hand.is_closed():  # an order that failed was cut off
                self.hands[number] = await failpoints.connect(self.url)
        await self.observer.execute(EMPTY)
        self.clock.reset()
        self.site.worker_id = await self.site.start_worker()

    async def claim_of_the_dead(self, limit: int = 10) -> list[Claim]:
        """Claim as a worker that then is silent for longer than its lease; another one lives."""
        claims = await self.site.claim(limit)
        self.clock.advance(seconds=LEASE_S + 1)
        self.site.worker_id = await self.site.start_worker()
        return claims

    def serve(self, connection: SteppedConnection, spare: SteppedConnection | None = None) -> Services:
        database = OneConnection(connection, spare)
        leader = Leader(database, self.store, WorkerId(uuid4()))
        agenda = Agenda(database, self.store)
        return Services(
            database,
            Engine(database, now=self.clock),
            Reaper(database, self.store, leader, wake=_nobody),
            Stager(database, self.store, leader, agenda, wake=_nobody),
            Expirer(database, self.store, leader, agenda),
            Scheduler(database, self.store, leader, agenda, wake=_nobody),
        )

    async def look(self) -> State:
        return await look(self.observer)

    async def end_everything(self) -> State:
        """Let time pass, the leader do its duties and a worker run what there is, until nothing is left."""
        services = self.serve(self.observer)
        state = await self.look()
        for queue in state.paused or ():
            await self.store.set_queue(self.observer, queue, paused=False)
        for _ in range(ROUNDS):
            live = {place.place for place in state.places or () if not place.is_end}
            if not live and not state.leases:
                break
            self.clock.advance(seconds=ROUND_S)
            if live & {"scheduled", "retrying"}:
                await services.stager.stage()
            if state.leases:
                await services.reaper.reap()
            worker_id = await self.site.start_worker()
            claims = await self.site.claim(100, worker_id=worker_id, queues=QUEUES, kinds=KINDS)
            if not claims:
                await services.expirer.expire()
            await self.store.complete(self.observer, [succeeded(claim) for claim in claims])
            state = await self.look()
        return state


def _nobody(_queues: Iterable[str]) -> None:
    """Nobody waits to be woken."""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Ground]:
    ground = Ground(url, await failpoints.connect(url), [await failpoints.connect(url) for _ in range(HANDS)])
    try:
        yield ground
    finally:
        await asyncio.gather(*(connection.close(timeout=5) for connection in (ground.observer, *ground.hands)))
