"""
What is in the tables at one instant, and what must be true of it at every instant.

`look` is one statement, so it sees what is committed and nothing half. `faults` holds after every commit, whoever was
in the middle of something; `final_faults` when nothing is left to do.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from uuid import UUID

import msgspec

from taskflow.db.query import Connection

TABLES = (
    *("ready", "deferred", "lease", "unique_claim", "worker", "queue", "kind", "schedule", "schedule_tick"),
    *("stat_delta", "stat_hour", "webhook_delivery", "job", "done", "attempt_log"),
)
ENDS = ("completed", "failed", "cancelled")
TWICE = "twice"  # the kind of jobs that are replayed: they end, and are counted, more often than they are there
GONE = "gone"  # the tag of jobs that retention has dropped, but for their bodies

LOOK = """
WITH place AS (
    SELECT job_id, 'ready' AS place, attempt, queue, holds_key FROM taskflow.ready
    UNION ALL SELECT job_id, state, attempt, queue, holds_key FROM taskflow.deferred
    UNION ALL
    SELECT u.job_id, 'lease', u.attempt, l.queue, false
    FROM taskflow.lease l
    CROSS JOIN unnest(l.job_ids, l.attempts) WITH ORDINALITY AS u(job_id, attempt, ord)
    WHERE get_bit(l.open, u.ord::integer - 1) = 1
    UNION ALL SELECT job_id, state, attempt, queue, false FROM taskflow.done
)
SELECT json_build_object(
    'jobs', (SELECT json_agg(json_build_object(
        'id', id, 'kind', kind, 'queue', queue, 'unique_key', unique_key, 'unique_scope', unique_scope,
        'callback_url', callback_url, 'tag', tags[1])) FROM taskflow.job),
    'places', (SELECT json_agg(json_build_object(
        'job_id', job_id, 'place', place, 'attempt', attempt, 'queue', queue, 'holds_key', holds_key)) FROM place),
    'leases', (SELECT json_agg(json_build_object(
        'id', id, 'open', open::text, 'jobs', cardinality(job_ids), 'queue', queue, 'worker_id', worker_id))
        FROM taskflow.lease),
    'log', (SELECT json_agg(json_build_object('job_id', job_id, 'attempt', attempt, 'outcome', outcome))
        FROM taskflow.attempt_log),
    'counts', (SELECT json_agg(json_build_object('queue', queue, 'kind', kind, 'state', state, 'jobs', jobs)) FROM (
        SELECT queue, kind, state, sum(jobs)::integer AS jobs
        FROM (SELECT * FROM taskflow.stat_delta UNION ALL SELECT * FROM taskflow.stat_hour) AS both_tables
        WHERE measure = 'run' GROUP BY queue, kind, state) AS counted),
    'keys', (SELECT json_agg(json_build_object('key', key, 'job_id', job_id, 'scope', scope))
        FROM taskflow.unique_claim),
    'deliveries', (SELECT json_agg(json_build_object(
        'id', id, 'job_id', job_id, 'event', event, 'status', status)) FROM taskflow.webhook_delivery),
    'ticks', (SELECT json_agg(json_build_object(
        'schedule_id', schedule_id, 'fire_at', fire_at, 'outcome', outcome, 'job_id', job_id))
        FROM taskflow.schedule_tick),
    'schedules', (SELECT json_agg(json_build_object('id', id, 'next_at', next_at, 'last_job_id', last_job_id))
        FROM taskflow.schedule),
    'paused', (SELECT json_agg(name) FROM taskflow.queue WHERE paused_at IS NOT NULL),
    'limits', (SELECT json_object_agg(name, concurrency) FROM taskflow.queue WHERE concurrency IS NOT NULL)
)::text
"""


class Body(msgspec.Struct, frozen=True):
    """A row of job; *tag* is the first one, by which a test knows its jobs."""

    id: UUID
    kind: str
    queue: str
    unique_key: str | None
    unique_scope: str | None
    callback_url: str | None
    tag: str | None


class Place(msgspec.Struct, frozen=True):
    """Where a job is: ready, scheduled, retrying, lease, or how it ended."""

    job_id: UUID
    place: str
    attempt: int
    queue: str | None
    holds_key: bool

    @property
    def is_end(self) -> bool:
        return self.place in ENDS


class Lease(msgspec.Struct, frozen=True):
    id: UUID
    open: str
    jobs: int
    queue: str | None
    worker_id: UUID


class Logged(msgspec.Struct, frozen=True):
    job_id: UUID
    attempt: int
    outcome: str


class Count(msgspec.Struct, frozen=True):
    queue: str
    kind: str
    state: str
    jobs: int


class Key(msgspec.Struct, frozen=True):
    key: str
    job_id: UUID
    scope: str


class Delivery(msgspec.Struct, frozen=True):
    id: UUID
    job_id: UUID
    event: str
    status: str


class Ticked(msgspec.Struct, frozen=True):
    schedule_id: UUID
    fire_at: str
    outcome: str
    job_id: UUID | None


class Planned(msgspec.Struct, frozen=True):
    id: UUID
    next_at: str | None
    last_job_id: UUID | None


class State(msgspec.Struct, frozen=True):
    """All of it."""

    jobs: Sequence[Body] | None
    places: Sequence[Place] | None
    leases: Sequence[Lease] | None
    log: Sequence[Logged] | None
    counts: Sequence[Count] | None
    keys: Sequence[Key] | None
    deliveries: Sequence[Delivery] | None
    ticks: Sequence[Ticked] | None
    schedules: Sequence[Planned] | None
    paused: Sequence[str] | None
    limits: Mapping[str, int] | None

    def of(self, job_id: UUID) -> list[Place]:
        return [place for place in self.places or () if place.job_id == job_id]

    def end_of(self, job_id: UUID) -> Place | None:
        return next((place for place in self.of(job_id) if place.is_end), None)

    @property
    def summary(self) -> list[str]:
        """The same for two runs that did the same: no ids, no instants."""
        names = {job.id: f"{job.kind}/{job.tag}" for job in self.jobs or ()}
        return sorted(
            chain(
                (f"job {name}" for name in names.values()),
                (f"{names.get(p.job_id)} {p.place} {p.attempt} {p.holds_key}" for p in self.places or ()),
                (f"lease {lease.open} {lease.queue}" for lease in self.leases or ()),
                (f"{names.get(line.job_id)} {line.attempt} was {line.outcome}" for line in self.log or ()),
                (f"count {count}" for count in self.counts or ()),
                (f"key {key.key} {names.get(key.job_id)} {key.scope}" for key in self.keys or ()),
                (f"told {names.get(d.job_id)} {d.event} {d.status}" for d in self.deliveries or ()),
                (f"tick {tick.outcome} {names.get(tick.job_id or tick.schedule_id)}" for tick in self.ticks or ()),
                (f"schedule {names.get(s.last_job_id or s.id)}" for s in self.schedules or ()),
            )
        )


_decode = msgspec.json.Decoder(State).decode


async def look(connection: Connection) -> State:
    return _decode(await connection.fetchval(LOOK))


def faults(state: State) -> list[str]:
    """Say what is wrong, each with the name of its rule; an empty list is what one wants."""
    return list(chain.from_iterable(rule(state) for rule in RULES))


def final_faults(state: State) -> list[str]:
    """The same once everything was given the time to end."""
    return [*faults(state), *_left_over(state)]


def _place(state: State) -> Iterator[str]:
    """A job is in exactly one place, and what is in a place is a job."""
    counts = Counter(place.job_id for place in state.places or ())
    names = {job.id for job in state.jobs or () if job.tag != GONE}
    for job_id in names | counts.keys():
        if counts[job_id] != 1 or job_id not in names:
            where = [place.place for place in state.of(job_id)]
            yield f"place: job {job_id} is in {where or 'no place'}{'' if job_id in names else ', without a body'}"


def _lease(state: State) -> Iterator[str]:
    """A lease has one bit for each of its jobs, and goes with the last that is open."""
    for lease in state.leases or ():
        if len(lease.open) != lease.jobs or "1" not in lease.open:
            yield f"lease: {lease.id} has {lease.jobs} jobs and the bits {lease.open!r}"


def _attempt(state: State) -> Iterator[str]:
    """Each attempt is decided once: in the log, or, completed, by the end; the one that runs is not decided."""
    logged: dict[UUID, list[int]] = {}
    for line in state.log or ():
        logged.setdefault(line.job_id, []).append(line.attempt)
    for place in state.places or ():
        decided = place.attempt - (place.place in ("lease", "completed"))
        found = sorted(logged.get(place.job_id, ()))
        if found != list(range(1, decided + 1)):
            yield f"attempt: job {place.job_id} is {place.place} in attempt {place.attempt}, decided are {found}"


def _count(state: State) -> Iterator[str]:
    """Ends are counted as often as they happened."""
    kinds = {job.id: (job.queue, job.kind) for job in state.jobs or ()}
    ends = Counter((*kinds.get(place.job_id, ("", "")), place.place) for place in state.places or () if place.is_end)
    counted = Counter({(count.queue, count.kind, count.state): count.jobs for count in state.counts or ()})
    ends, counted = (Counter({key: n for key, n in c.items() if key[1] != TWICE}) for c in (ends, counted))
    if ends != counted:
        yield f"count: ended {dict(ends)}, counted {dict(counted)}"


def _unique(state: State) -> Iterator[str]:
    """A key is held by the one job that has a right to it, and by no other."""
    where = {place.job_id: place for place in state.places or ()}
    wanted = set()
    for job in state.jobs or ():
        place = where.get(job.id)
        if job.unique_key is None or place is None:
            continue
        waits = place.attempt == 0 and not place.is_end
        holds = {"until_claimed": waits, "until_finished": not place.is_end, "window": True}[job.unique_scope or ""]
        if holds:
            wanted.add((job.unique_key, job.id))
        if place.holds_key != (waits and job.unique_scope == "until_claimed"):
            yield f"unique: job {job.id} ({job.unique_scope}) waits with holds_key {place.holds_key}"
    held = {(key.key, key.job_id) for key in state.keys or ()}
    if held != wanted:
        yield f"unique: keys are held by {sorted(held)}, jobs that should are {sorted(wanted)}"


def _callback(state: State) -> Iterator[str]:
    """Each end of a job with a callback has one delivery, which has a job of its own."""
    bodies = {job.id: job for job in state.jobs or ()}
    wanted = [
        (place.job_id, f"job.{place.place}")
        for place in state.places or ()
        if place.is_end and place.job_id in bodies and bodies[place.job_id].callback_url is not None
    ]
    made = [(delivery.job_id, delivery.event) for delivery in state.deliveries or ()]
    if sorted(wanted) != sorted(made):
        yield f"callback: ends to be told are {sorted(wanted)}, deliveries {sorted(made)}"
    jobs = {delivery.id: delivery.status for delivery in state.deliveries or ()}
    if jobs.keys() != {job.id for job in state.jobs or () if job.kind == "deliver_webhook"}:
        yield f"callback: deliveries {sorted(jobs)} and their jobs do not belong together"
    for delivery_id, status in jobs.items():
        end = state.end_of(delivery_id)
        should = "pending" if end is None else "delivered" if end.place == "completed" else "failed"
        if status != should:
            yield f"callback: delivery {delivery_id} is {status}, its job says {should}"


def _tick(state: State) -> Iterator[str]:
    """An instant that fired has one job, of its own; a schedule is due after what was decided."""
    fired = [tick.job_id for tick in state.ticks or () if tick.outcome == "fired"]
    tagged = {job.id for job in state.jobs or () if job.tag == "scheduled"}
    if len(fired) != len(set(fired)) or set(fired) != tagged:
        yield f"tick: instants fired {fired}, jobs of schedules are {sorted(tagged)}"
    for schedule in state.schedules or ():
        late = [tick for tick in state.ticks or () if tick.schedule_id == schedule.id]
        if any(schedule.next_at is None or tick.fire_at >= schedule.next_at for tick in late):
            yield f"tick: schedule {schedule.id} is due at {schedule.next_at}, decided are {late}"


def _limit(state: State) -> Iterator[str]:
    """Not more jobs of a queue are leased than its limit says."""
    for queue, limit in (state.limits or {}).items():
        running = sum(lease.open.count("1") for lease in state.leases or () if lease.queue == queue)
        if running > limit:
            yield f"limit: {running} jobs of {queue} are leased, {limit} may be"


def _left_over(state: State) -> Iterable[str]:
    if live := [place for place in state.places or () if not place.is_end]:
        yield f"end: still alive are {live}"
    if state.leases:
        yield f"end: leases are left: {state.leases}"


RULES = (_place, _lease, _attempt, _count, _unique, _callback, _tick, _limit)
