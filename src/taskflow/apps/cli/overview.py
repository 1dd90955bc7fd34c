"""What `taskflow status` reads, what of it needs a person, and how it is laid out."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

import msgspec

from taskflow.apps.cli.output import Column, Output, clean, counted, plural, size, span
from taskflow.apps.cli.session import (
    Failure,
    Place,
    describe,
    opened,
)
from taskflow.db.migrate import HEAD, Fit
from taskflow.db.server import Server, read_server
from taskflow.engine.client import Engine
from taskflow.engine.job import DEFAULT_NAMESPACE, WorkerInfo
from taskflow.engine.leader import NAME
from taskflow.engine.record import Leadership, QueueDepth, Retention
from taskflow.engine.store import DEAD_LETTER_ROWS, DEPTH_ROWS
from taskflow.kernel.errors import SetupError, Unavailable

WORKER_COLUMNS = (
    Column("SUPERVISOR", least=16),
    Column("QUEUES", rank=2, least=12),
    Column("KINDS", rank=1, least=14),
    Column("CONCURRENCY", rank=4, right=True),
    Column("STARTED", rank=3),
    Column("HEARTBEAT", style=lambda cell: "red" if "silent" in cell else ""),
)
SERVED_STYLES = {"no": "red", "paused": "yellow"}
QUEUE_COLUMNS = (
    Column("QUEUE", least=10),
    Column("TYPE", least=14),
    Column("PENDING", right=True),
    Column("OLDEST_DUE", rank=1),
    Column("SERVED", style=lambda cell: SERVED_STYLES.get(cell, "")),
)


class DatabaseView(msgspec.Struct, frozen=True, rename="camel"):
    """The database, as far as it could be seen."""

    reachable: bool
    address: str
    version: str | None = None
    name: str | None = None
    size_bytes: int | None = None
    error: str | None = None


class SchemaView(msgspec.Struct, frozen=True, rename="camel"):
    """The revision that is there, the one that this version of TaskFlow was made for, and whether it works."""

    revision: str | None
    expected: str
    current: bool
    fits: bool


class LeaderView(msgspec.Struct, frozen=True, rename="camel"):
    """Who leads, for how long by now, and for how long unless it renews its term."""

    worker_id: UUID
    term: int
    held_ms: int
    expires_in_ms: int


class WorkerView(msgspec.Struct, frozen=True, rename="camel"):
    """A supervisor of worker processes; one that is not alive was silent for too long."""

    worker_id: UUID
    host: str
    pid: int
    queues: Sequence[str]
    kinds: Sequence[str]
    concurrency: int
    started_at: datetime
    heartbeat_at: datetime
    heartbeat_age_ms: int
    alive: bool


class QueueView(msgspec.Struct, frozen=True, rename="camel"):
    """Jobs of one kind that are ready in a queue, whether a live worker runs them, and whether the queue is paused."""

    queue: str
    task_type: str
    pending: int
    oldest_due_age_ms: int
    has_worker: bool
    paused: bool


class RetentionView(msgspec.Struct, frozen=True, rename="camel"):
    """
    How long ended jobs are kept.

    Args:
        known: whether a leader has ever looked after it; before, *days* is null and says nothing.
        days: as the last leader was told; null keeps everything.
        oldest_day: the first day (UTC) of which ended jobs are kept; null when there is none.
    """

    known: bool
    days: int | None
    oldest_day: date | None


class Overview(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """
    Everything. What could not be read is left out.

    Args:
        leader: null while nobody leads.
        limits: counts stop there: all *pending* together, and *deadLetters*.
    """

    database: DatabaseView
    schema: SchemaView | None = None
    leader: LeaderView | msgspec.UnsetType | None = msgspec.UNSET
    workers: list[WorkerView] | msgspec.UnsetType = msgspec.UNSET
    queues: list[QueueView] | msgspec.UnsetType = msgspec.UNSET
    dead_letters: int | msgspec.UnsetType = msgspec.UNSET
    retention: RetentionView | msgspec.UnsetType = msgspec.UNSET
    limits: dict[str, int] | msgspec.UnsetType = msgspec.UNSET
    warnings: list[str] | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class _Found:
    """What the engine said. *leader* is None unless its term still goes."""

    leader: Leadership | None
    workers: Sequence[WorkerInfo]
    depths: Sequence[QueueDepth]
    dead_letters: int
    retention: Retention


async def show_overview(place: Place, *, as_json: bool) -> None:
    """
    Read and print everything.

    Raises:
        Unavailable: the database cannot be reached; with *as_json*, that is printed first.
        Failure: its schema is not the one that this version works on; what could be seen is printed first.
    """
    try:
        async with opened(place) as database:
            async with database.acquire() as connection:
                server = await read_server(connection)
            out = Output(server.now)
            try:
                server.schema.check()
            except SetupError as error:
                if as_json:
                    out.json(_view(place, server, None))
                else:
                    out.facts(_server_facts(place, server))
                raise Failure(describe(error)) from None
            found = await _read(Engine(database))
    except Unavailable as error:
        if as_json:
            unseen = DatabaseView(reachable=False, address=place.address, error=describe(error))
            Output(datetime.now(UTC)).json(Overview(unseen))
        raise
    if as_json:
        out.json(_view(place, server, found))
    else:
        _print(out, place, server, found)


async def _read(engine: Engine) -> _Found:
    leader = await engine.find_leader(NAME)
    return _Found(
        leader=leader if leader is not None and leader.expires_in_s > 0 else None,
        workers=await engine.list_workers(),
        depths=await engine.queue_depths(),
        dead_letters=await engine.count_dead_letters(DEFAULT_NAMESPACE),
        retention=await engine.read_retention(),
    )


def _warnings(found: _Found) -> Iterator[str]:
    alive = [worker for worker in found.workers if worker.alive]
    if not alive:
        yield "no worker is alive, so nothing runs: start `taskflow up` or `taskflow worker`"
    elif found.leader is None:
        yield "nobody leads, so due jobs wait and those of dead workers stay; an election takes seconds"
    for depth in found.depths:
        if alive and not depth.has_worker:
            yield (
                f"{plural(depth.pending, 'job')} of {clean(depth.kind)} in queue {clean(depth.queue)}: no live worker "
                "runs that kind there"
            )
    for queue, pending in pending_in_paused(found.depths).items():
        name = clean(queue)
        yield f"queue {name} is paused, {plural(pending, 'job')} waiting in it: `taskflow queues resume {name}`"


def pending_in_paused(depths: Sequence[QueueDepth]) -> Mapping[str, int]:
    """Return how many ready jobs wait in each queue that is paused."""
    pending: Counter[str] = Counter()
    for depth in depths:
        if depth.is_paused:
            pending[depth.queue] += depth.pending
    return pending


def _view(place: Place, server: Server, found: _Found | None) -> Overview:
    seen = DatabaseView(
        reachable=True,
        address=place.address,
        version=server.version,
        name=server.name,
        size_bytes=server.size_bytes,
    )
    schema = SchemaView(server.schema.revision, HEAD, server.schema.fit is Fit.CURRENT, server.schema.fits)
    if found is None:
        return Overview(seen, schema)
    leader = found.leader
    return Overview(
        seen,
        schema,
        leader=None
        if leader is None
        else LeaderView(leader.holder, leader.term, _ms(leader.held_s), _ms(leader.expires_in_s)),
        workers=[
            WorkerView(
                worker_id=worker.id,
                host=worker.host,
                pid=worker.pid,
                queues=worker.queues,
                kinds=worker.kinds,
                concurrency=worker.concurrency,
                started_at=worker.started_at,
                heartbeat_at=worker.heartbeat_at,
                heartbeat_age_ms=_ms(_age_s(server, worker.heartbeat_at)),
                alive=worker.alive,
            )
            for worker in found.workers
        ],
        queues=[
            QueueView(
                depth.queue, depth.kind, depth.pending, _ms(depth.oldest_due_age_s), depth.has_worker, depth.is_paused
            )
            for depth in found.depths
        ],
        dead_letters=found.dead_letters,
        retention=RetentionView(found.retention.is_looked_after, found.retention.kept_days, found.retention.oldest),
        limits={"pending": DEPTH_ROWS, "deadLetters": DEAD_LETTER_ROWS},
        warnings=list(_warnings(found)),
    )


def _print(out: Output, place: Place, server: Server, found: _Found) -> None:
    leader, alive = found.leader, sum(worker.alive for worker in found.workers)
    dead_letters = counted(found.dead_letters, DEAD_LETTER_ROWS)
    leading = "nobody"
    if leader is not None:
        leading = f"{_name_of(leader, found.workers)}, term {leader.term}, for {span(leader.held_s)}"
    if found.dead_letters:
        dead_letters += "  (taskflow jobs list --status failed)"
    out.facts(
        [
            *_server_facts(place, server),
            ("leader", leading, "yellow" if leader is None else ""),
            ("workers", f"{alive} alive" if alive else "none alive", "" if alive else "yellow"),
            ("dead letters", dead_letters, ""),
            ("retention", kept(found.retention), ""),
        ]
    )
    if found.workers:
        out.line()
        out.table(WORKER_COLUMNS, [_worker_row(out, server, worker) for worker in found.workers])
    if found.depths:
        out.line()
        out.table(QUEUE_COLUMNS, [_queue_row(depth) for depth in found.depths])
        if sum(depth.pending for depth in found.depths) >= DEPTH_ROWS:
            out.line(f"only the first {DEPTH_ROWS:,} ready jobs were counted")
    warnings = list(_warnings(found))
    if warnings:
        out.line()
    for warning in warnings:
        out.line(f"warning: {warning}", "yellow")


def kept(retention: Retention) -> str:
    """Say how long ended jobs are kept, and which day is the oldest."""
    oldest = f"the oldest day is {retention.oldest}" if retention.oldest else "there is no day yet"
    if not retention.is_looked_after:
        return f"nobody has looked after it yet; {oldest}"
    if retention.kept_days is None:
        return f"everything is kept; {oldest}"
    return f"{plural(retention.kept_days, 'day')} are kept; {oldest}"


def _server_facts(place: Place, server: Server) -> list[tuple[str, str, str]]:
    schema = server.schema
    revision = schema.revision or "none"
    says = {
        Fit.CURRENT: f"{revision} (current)",
        Fit.NEWER: f"{revision} (newer than {HEAD}, and fit for it)",
        Fit.TOO_NEW: f"{revision}, too new for {HEAD}",
    }.get(schema.fit, f"{revision}, needs {HEAD}")
    return [
        ("database", f"PostgreSQL {server.version} at {clean(place.address)}, {size(server.size_bytes)}", "green"),
        ("schema", says, "green" if schema.fits else "red"),
    ]


def _worker_row(out: Output, server: Server, worker: WorkerInfo) -> Sequence[str]:
    heartbeat = out.time(worker.heartbeat_at)
    return (
        clean(f"{worker.host}:{worker.pid}"),
        clean(",".join(worker.queues)),
        clean(",".join(worker.kinds)),
        str(worker.concurrency),
        out.time(worker.started_at),
        heartbeat if worker.alive else f"silent for {span(_age_s(server, worker.heartbeat_at))}",
    )


def _queue_row(depth: QueueDepth) -> Sequence[str]:
    return (
        clean(depth.queue),
        clean(depth.kind),
        counted(depth.pending, DEPTH_ROWS),
        span(depth.oldest_due_age_s),
        service_word(has_worker=depth.has_worker, paused=depth.is_paused),
    )


def service_word(*, has_worker: bool, paused: bool) -> str:
    """Say in a word whether jobs of a queue are taken."""
    return "paused" if paused else "yes" if has_worker else "no"


def _name_of(leader: Leadership, workers: Sequence[WorkerInfo]) -> str:
    for worker in workers:
        if worker.id == leader.holder:
            return clean(f"{worker.host}:{worker.pid}")
    return str(leader.holder)


def _age_s(server: Server, at: datetime) -> float:
    return max((server.now - at).total_seconds(), 0.0)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
