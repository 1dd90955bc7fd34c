"""What `taskflow top` reads, how two readings become rates, and how it is shown while it changes."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from taskflow.apps.cli.output import Column, Output, clean, counted, iso, span
from taskflow.apps.cli.overview import SERVED_STYLES, service_word
from taskflow.apps.cli.session import Place, complain, describe, make_session, opened
from taskflow.db.migrate import read_schema
from taskflow.db.pool import DATABASE_ERRORS
from taskflow.db.server import read_now
from taskflow.engine.client import Engine
from taskflow.engine.job import DEFAULT_NAMESPACE, State, WorkerInfo
from taskflow.engine.leader import NAME
from taskflow.engine.record import Activity, QueueDepth
from taskflow.engine.store import DEAD_LETTER_ROWS, DEPTH_ROWS

if TYPE_CHECKING:
    from rich.console import RenderableType

QUEUE_COLUMNS = (
    Column("QUEUE", least=10),
    Column("PENDING", right=True),
    Column("ACTIVE", right=True),
    Column("ENDED/S", right=True, rank=1),
    Column("OLDEST_DUE", rank=2),
    Column("SCHEDULED", rank=4, right=True),
    Column("RETRYING", rank=3, right=True),
    Column("SERVED", style=lambda cell: SERVED_STYLES.get(cell, "")),
)
WORKER_COLUMNS = (
    Column("SUPERVISOR", least=16),
    Column("ACTIVE", right=True),
    Column("CONCURRENCY", right=True, rank=1),
    Column("QUEUES", rank=2, least=12),
    Column("UP", rank=3),
    Column("HEARTBEAT", style=lambda cell: "red" if "silent" in cell else ""),
)


class RatesView(msgspec.Struct, frozen=True, rename="camel"):
    """Per second, since the look before. *unsuccessful* are attempts that did not complete."""

    submitted: float
    ended: float
    unsuccessful: float


class QueueView(msgspec.Struct, frozen=True, rename="camel"):
    """
    A queue. *paused* is said of those with jobs that are ready; *endedPerS* is null where two looks cannot be compared,
    once an hour.
    """

    queue: str
    pending: int
    active: int
    scheduled: int
    retrying: int
    oldest_due_age_ms: int | None
    has_worker: bool
    paused: bool
    ended_per_s: float | None


class WorkerView(msgspec.Struct, frozen=True, rename="camel"):
    """A supervisor of worker processes."""

    worker_id: UUID
    host: str
    pid: int
    queues: Sequence[str]
    concurrency: int
    active: int
    started_at: datetime
    heartbeat_age_ms: int
    alive: bool


class TopView(msgspec.Struct, frozen=True, rename="camel"):
    """One view. *limits*: counts of *pending*, *active* and *deferred* jobs stop there, and *deadLetters*."""

    at: datetime
    interval_ms: int
    rates: RatesView
    leader: UUID | None
    workers: list[WorkerView]
    queues: list[QueueView]
    dead_letters: int
    limits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Look:
    """Everything at one moment; *seen_s* is our own monotonic clock."""

    at: datetime
    seen_s: float
    activity: Activity
    depths: Sequence[QueueDepth]
    workers: Sequence[WorkerInfo]
    leader: UUID | None
    dead_letters: int


async def watch(place: Place, *, interval_s: float, once: bool, as_json: bool) -> None:
    """
    Look and show until told to stop, or once.

    Raises:
        Unavailable, SetupError: at the first look the database cannot be reached, or its schema does not fit.
    """
    async with opened(place) as database:
        async with database.acquire() as connection:
            (await read_schema(connection)).check()
            now = await read_now(connection)
        session = make_session(place, database, now)

        async def look() -> Look:
            return await _look(session.engine, session.now)

        before = await look()
        if once:
            await asyncio.sleep(interval_s)
            _print(Output(session.now), place, view_of(before, await look()), as_json=as_json)
            return
        async with _stopping() as stop:
            out = Output(session.now)
            if out.is_terminal and not as_json:
                await _live(place, before, look, interval_s, stop)
            else:
                await _roll(out, place, before, look, interval_s, stop, as_json=as_json)


async def _roll(
    out: Output,
    place: Place,
    before: Look,
    look: Callable[[], Any],
    interval_s: float,
    stop: asyncio.Event,
    *,
    as_json: bool,
) -> None:
    """Print one view after the other."""
    away = False
    while not await _pause(stop, interval_s):
        try:
            now = await look()
        except DATABASE_ERRORS as error:
            if not away:
                complain(f"the database is away, looking again: {describe(error)}")
            away = True
            continue
        away = False
        _print(out, place, view_of(before, now), as_json=as_json)
        if not as_json:
            out.line()
        sys.stdout.flush()
        before = now


async def _live(place: Place, before: Look, look: Callable[[], Any], interval_s: float, stop: asyncio.Event) -> None:
    """Keep a terminal's screen current, until `q`."""
    from rich.live import Live

    view = view_of(before, before)
    trouble = "looking for rates …"
    with _keys(stop), Live(screen=True, auto_refresh=False) as live:
        while True:
            live.update(_screen(place, view, trouble, height=live.console.height), refresh=True)
            if await _pause(stop, interval_s):
                return
            try:
                now = await look()
            except DATABASE_ERRORS as error:
                trouble = f"the database is away, looking again: {describe(error)}"
                continue
            view, trouble, before = view_of(before, now), "", now


async def _look(engine: Engine, now: datetime) -> Look:
    leader = await engine.find_leader(NAME)
    return Look(
        activity=await engine.read_activity(),
        seen_s=time.monotonic(),
        at=now,
        depths=await engine.queue_depths(),
        workers=await engine.list_workers(),
        leader=leader.holder if leader is not None and leader.expires_in_s > 0 else None,
        dead_letters=await engine.count_dead_letters(DEFAULT_NAMESPACE),
    )


def view_of(before: Look, now: Look) -> TopView:
    """Return what two looks say together."""
    seconds = now.seen_s - before.seen_s

    def rate(then: int, value: int) -> float:
        """Per second; a counter that went back (a partition was dropped) says nothing."""
        return round(max(value - then, 0) / seconds, 1) if seconds > 0 else 0.0

    was, written = before.activity.written, now.activity.written
    active_of: dict[UUID, int] = {}
    for (worker_id, _), jobs in now.activity.active.items():
        active_of[worker_id] = active_of.get(worker_id, 0) + jobs
    return TopView(
        at=now.at,
        interval_ms=round(seconds * 1000),
        rates=RatesView(
            submitted=rate(was.submitted, written.submitted),
            ended=rate(was.ended, written.ended),
            unsuccessful=rate(was.unsuccessful, written.unsuccessful),
        ),
        leader=now.leader,
        workers=[
            WorkerView(
                worker_id=worker.id,
                host=worker.host,
                pid=worker.pid,
                queues=worker.queues,
                concurrency=worker.concurrency,
                active=active_of.get(worker.id, 0),
                started_at=worker.started_at,
                heartbeat_age_ms=round(max((now.at - worker.heartbeat_at).total_seconds(), 0) * 1000),
                alive=worker.alive,
            )
            for worker in now.workers
        ],
        queues=list(_queues(before, now, rate)),
        dead_letters=now.dead_letters,
        limits={"pending": DEPTH_ROWS, "active": DEPTH_ROWS, "deferred": DEPTH_ROWS, "deadLetters": DEAD_LETTER_ROWS},
    )


def _queues(before: Look, now: Look, rate: Callable[[int, int], float]) -> Iterator[QueueView]:
    """Those that workers serve or that have jobs, by name."""
    then, ended = before.activity.ended, now.activity.ended
    # Once an hour the span that is counted moves on, and one interval has no rate.
    comparable = before.activity.ended_since in (now.activity.ended_since, None)
    active, deferred = now.activity.active, now.activity.deferred
    served = {queue for worker in now.workers if worker.alive for queue in worker.queues}
    names = served | {depth.queue for depth in now.depths} | {queue for _, queue in active}
    for name in sorted(names | {queue for queue, _ in deferred}):
        depths = [depth for depth in now.depths if depth.queue == name]
        yield QueueView(
            queue=name,
            pending=sum(depth.pending for depth in depths),
            active=sum(jobs for (_, queue), jobs in active.items() if queue == name),
            scheduled=deferred.get((name, State.SCHEDULED), 0),
            retrying=deferred.get((name, State.RETRYING), 0),
            oldest_due_age_ms=round(max(depth.oldest_due_age_s for depth in depths) * 1000) if depths else None,
            has_worker=all(depth.has_worker for depth in depths) if depths else name in served,
            paused=any(depth.is_paused for depth in depths),
            ended_per_s=rate(then.get(name, 0), ended.get(name, 0)) if comparable else None,
        )


# Showing -------------------------------------------------------------------------------------------------------------


def _print(out: Output, place: Place, view: TopView, *, as_json: bool) -> None:
    if as_json:
        out.json(view)
        return
    out.facts(_facts(place, view))
    for columns, rows in _tables(view):
        if rows:
            out.line()
            out.table(columns, rows)


def _screen(place: Place, view: TopView, trouble: str, *, height: int) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    out = Output(view.at)
    parts: list[RenderableType] = [
        Text.assemble((f"{name:<12}  ", "dim"), (value, style)) for name, value, style in _facts(place, view)
    ]
    left = height - len(parts) - 2
    for columns, rows in _tables(view):
        if rows and left > 2:
            shown = rows[: left - 2]
            parts += [Text(), out.layout(columns, shown)]
            left -= len(shown) + 2
    parts += [Text(), Text(trouble or "q quits", style="yellow" if trouble else "dim")]
    return Group(*parts)


def _facts(place: Place, view: TopView) -> list[tuple[str, str, str]]:
    rates, alive = view.rates, sum(worker.alive for worker in view.workers)
    running = sum(worker.active for worker in view.workers)
    places = sum(worker.concurrency for worker in view.workers if worker.alive)
    names = {worker.worker_id: f"{worker.host}:{worker.pid}" for worker in view.workers}
    leader = "nobody" if view.leader is None else clean(names.get(view.leader, str(view.leader)))
    return [
        ("taskflow", f"{clean(place.address)}  {iso(view.at)}", ""),
        (
            "rates",
            _rates(rates),
            "red" if rates.unsuccessful > rates.ended else "",
        ),
        ("workers", f"{alive} alive, {running} of {places} places taken", "" if alive else "yellow"),
        ("leader", leader, "" if view.leader is not None else "yellow"),
        ("dead letters", counted(view.dead_letters, DEAD_LETTER_ROWS), ""),
    ]


def _rates(rates: RatesView) -> str:
    failed = f"{rates.unsuccessful:,.1f}/s attempts failed"
    return f"{rates.submitted:,.1f}/s submitted  {rates.ended:,.1f}/s ended  {failed}"


def _tables(view: TopView) -> Iterator[tuple[Sequence[Column], list[Sequence[str]]]]:
    yield (
        QUEUE_COLUMNS,
        [
            (
                clean(queue.queue),
                counted(queue.pending, DEPTH_ROWS),
                counted(queue.active, DEPTH_ROWS),
                "" if queue.ended_per_s is None else f"{queue.ended_per_s:,.1f}",
                "" if queue.oldest_due_age_ms is None else span(queue.oldest_due_age_ms / 1000),
                counted(queue.scheduled, DEPTH_ROWS),
                counted(queue.retrying, DEPTH_ROWS),
                service_word(has_worker=queue.has_worker, paused=queue.paused),
            )
            for queue in view.queues
        ],
    )
    yield (
        WORKER_COLUMNS,
        [
            (
                clean(f"{worker.host}:{worker.pid}"),
                str(worker.active),
                str(worker.concurrency),
                clean(",".join(worker.queues)),
                span(max((view.at - worker.started_at).total_seconds(), 0)),
                f"{'' if worker.alive else 'silent for '}{span(worker.heartbeat_age_ms / 1000)}",
            )
            for worker in view.workers
        ],
    )


# Stopping ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _stopping() -> AsyncIterator[asyncio.Event]:
    """Lend an event that Ctrl-C and SIGTERM set, so that the terminal is left as it was found."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait; True if it is time to stop."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()
    return stop.is_set()


@contextmanager
def _keys(stop: asyncio.Event) -> Iterator[None]:
    """Listen for `q` while the block runs, if there is a keyboard."""
    if not sys.stdin.isatty():
        yield
        return
    import os
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(keyboard)

    def pressed() -> None:
        keys = os.read(keyboard, 64)
        if b"q" in keys.lower() or not keys:
            stop.set()

    tty.setcbreak(keyboard)
    loop.add_reader(keyboard, pressed)
    try:
        yield
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
