"""
Judges a history: pure functions from what happened to what was not allowed.

    end        a job that was answered or stored ends in exactly one terminal state, and ends once
    answer     a submit is stored at most once, as the job that was answered; one that was refused is not stored
    attempt    attempts of a job count up, each under a lease of its own; handlers run what was claimed, once a claim
    holder     no two leases hold a job at once, and none holds one that has ended
    fence      what ends a job comes from the lease that holds it, never from one that was lost
    limit      no more jobs of a queue are leased at once than its limit says
    unique     a unique key is held by one job at a time
    tick       each instant of a schedule is decided once, and fired it has one job
    effect     what a handler writes in its job's transaction is there once if the job completed, else not at all
    callback   each end with a callback is told at least once, under one id

Instants are compared by the database's own numbers (`events.Claimed.seq`), so a rule finds no overlap that was not
there. A release gets its number a moment before its commit: an overlap as short as that moment is not seen.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.history.events import (
    Answered,
    Began,
    CallbackCame,
    Called,
    Claimed,
    Delivery,
    Effect,
    Ended,
    Event,
    Finished,
    History,
    Refused,
    Released,
    Reopened,
    Stored,
    Tick,
    Unknown,
)

TERMINAL = ("completed", "failed", "cancelled")
MAX_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Violation:
    """
    Something that must not happen.

    Args:
        subject: the job, or the submit, queue, key or schedule that it is about.
        shown: the events and rows that show it.
    """

    rule: str
    subject: str
    text: str
    shown: Sequence[object] = ()

    def __str__(self) -> str:
        lines = [
            f"{self.rule}: {self.subject} {self.text}",
            *(f"    {_line(event)}" for event in self.shown[:MAX_SHOWN]),
        ]
        if len(self.shown) > MAX_SHOWN:
            lines.append(f"    … and {len(self.shown) - MAX_SHOWN} more")
        return "\n".join(lines)


@dataclass(slots=True)
class _Holding:
    """One claim of a job, and how long it stood."""

    claimed: Claimed
    released: Released | None = None

    def stands_at(self, seq: int) -> bool:
        return self.claimed.seq < seq and (self.released is None or self.released.seq > seq)


@dataclass(slots=True)
class _Job:
    """What happened to one job, each list in the order of the database, or of the clock where that is all there is."""

    id: str
    stored: list[Stored] = field(default_factory=list)
    holdings: list[_Holding] = field(default_factory=list)
    ends: list[Finished | Reopened] = field(default_factory=list)
    began: list[Began] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    callbacks: list[CallbackCame] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)

    @property
    def finished(self) -> list[Finished]:
        return [end for end in self.ends if isinstance(end, Finished)]

    @property
    def kind(self) -> str:
        return self.stored[0].kind if self.stored else ""


@dataclass(slots=True)
class _Submit:
    """What a client knows of one submit."""

    op: str
    calls: list[Called] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)


class _Index:
    """A history by job and by submit."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.jobs: dict[str, _Job] = {}
        self.submits: dict[str, _Submit] = {}
        for event in history.events:
            self._add(event)
        for effect in history.final.effects:
            self.job(effect.job_id).effects.append(effect)
        for delivery in history.final.deliveries:
            self.job(delivery.job_id).deliveries.append(delivery)
        for job_id in history.final.places:
            self.job(job_id)

    def job(self, job_id: str) -> _Job:
        return self.jobs.setdefault(job_id, _Job(job_id))

    def shown(self, job_id: str, *more: object) -> list[object]:
        """Everything about one job, for people."""
        op = next((event.op for event in self.job(job_id).stored), None)
        about = [
            event
            for event in self.history.events
            if getattr(event, "job_id", None) == job_id or (op is not None and getattr(event, "op", None) == op)
        ]
        return [*about, *more]

    def _submit(self, op: str) -> _Submit:
        return self.submits.setdefault(op, _Submit(op))

    def _add(self, event: Event) -> None:
        match event:
            case Called(op=op):
                self._submit(op).calls.append(event)
            case Answered(op=op, job_id=job_id):
                self._submit(op).answers.append(event)
                self.job(job_id).answers.append(event)
            case Refused(op=op):
                self._submit(op).refusals.append(event)
            case Unknown(op=op):
                self._submit(op).unknown.append(event)
            case Began(job_id=job_id):
                self.job(job_id).began.append(event)
            case Ended(job_id=job_id):
                self.job(job_id).ended.append(event)
            case CallbackCame(job_id=job_id):
                self.job(job_id).callbacks.append(event)
            case Stored(job_id=job_id, op=op):
                self.job(job_id).stored.append(event)
                if op is not None:
                    self._submit(op).stored.append(event)
            case Claimed(job_id=job_id):
                self.job(job_id).holdings.append(_Holding(event))
            case Released(job_id=job_id, lease_id=lease_id):
                for holding in self.job(job_id).holdings:
                    if holding.claimed.lease_id == lease_id and holding.released is None:
                        holding.released = event
            case Finished(job_id=job_id) | Reopened(job_id=job_id):
                self.job(job_id).ends.append(event)
            case _:
                pass


def check(history: History) -> list[Violation]:
    """Return every violation of every rule."""
    index = _Index(history)
    return [violation for rule in RULES for violation in rule(index)]


# Rules -----------------------------------------------------------------------------------------------------------


def _end(index: _Index) -> Iterator[Violation]:
    for job in index.jobs.values():
        if not job.stored and not job.answers:
            continue
        places = index.history.final.places.get(job.id, ())
        text = None
        if not job.stored:
            text = "was answered and never stored"
        elif not places:
            text = f"was {'answered' if job.answers else 'stored'} and is nowhere"
        elif len(places) > 1:
            text = f"is in {len(places)} places: {', '.join(places)}"
        elif places[0] not in TERMINAL:
            text = f"has not ended: it is in {places[0]}"
        else:
            live = True
            for end in job.ends:
                if isinstance(end, Finished) and not live:
                    text = f"ended twice, the second time {end.state}"
                live = isinstance(end, Reopened)
            if live:
                text = f"is {places[0]}, and nothing tells when that was written"
        if text is not None:
            yield Violation("end", f"job {job.id}", text, index.shown(job.id))


def _answer(index: _Index) -> Iterator[Violation]:
    for submit in index.submits.values():
        about: list[object] = [*submit.calls, *submit.unknown, *submit.refusals, *submit.answers, *submit.stored]
        subject = f"submit {submit.op}"
        if len(submit.stored) > 1:
            yield Violation("answer", subject, f"was stored {len(submit.stored)} times", about)
        if submit.refusals and submit.stored and not submit.unknown and not submit.answers:
            yield Violation("answer", subject, "was refused and stored all the same", about)
        answered = {answer.job_id for answer in submit.answers}
        if len(answered) > 1:
            yield Violation("answer", subject, f"was answered with {len(answered)} jobs", about)
        keys = {call.unique_key for call in submit.calls} - {None}
        for job_id in answered:
            for stored in index.job(job_id).stored:
                if stored.op != submit.op and stored.unique_key not in keys:
                    text = f"was answered with job {job_id}, which is of submit {stored.op} and holds no key of it"
                    yield Violation("answer", subject, text, [*about, stored])


def _attempt(index: _Index) -> Iterator[Violation]:
    for job in index.jobs.values():
        subject = f"job {job.id}"
        last = 0
        for holding in job.holdings:
            if holding.claimed.attempt <= last:
                text = f"was claimed as attempt {holding.claimed.attempt} after attempt {last}"
                yield Violation("attempt", subject, text, index.shown(job.id))
            last = max(last, holding.claimed.attempt)
        claims = {(holding.claimed.attempt, holding.claimed.lease_id) for holding in job.holdings}
        seen: set[tuple[int, str]] = set()
        for began in job.began:
            run = (began.attempt, began.lease_id)
            if run not in claims:
                text = f"was run as attempt {began.attempt} under lease {began.lease_id}, which never held it so"
                yield Violation("attempt", subject, text, index.shown(job.id))
            if run in seen:
                text = f"was run twice under lease {began.lease_id}"
                yield Violation("attempt", subject, text, index.shown(job.id))
            seen.add(run)


def _holder(index: _Index) -> Iterator[Violation]:
    for job in index.jobs.values():
        for number, holding in enumerate(job.holdings):
            claimed = holding.claimed
            standing = [other for other in job.holdings[:number] if other.stands_at(claimed.seq)]
            if standing:
                text = f"was claimed under lease {claimed.lease_id} while lease {standing[0].claimed.lease_id} held it"
                yield Violation("holder", f"job {job.id}", text, index.shown(job.id))
            before = [end for end in job.ends if end.seq < claimed.seq]
            if before and isinstance(before[-1], Finished):
                text = f"was claimed under lease {claimed.lease_id} after it had ended"
                yield Violation("holder", f"job {job.id}", text, index.shown(job.id))


def _fence(index: _Index) -> Iterator[Violation]:
    for job in index.jobs.values():
        for end in job.finished:
            if (text := _unfenced(job, end)) is not None:
                yield Violation("fence", f"job {job.id}", text, index.shown(job.id))


def _unfenced(job: _Job, end: Finished) -> str | None:
    """Say what is wrong with the claim that *end* was accepted from, if anything is."""
    held = [h for h in job.holdings if h.claimed.seq < end.seq]
    giver = next((h for h in held if h.released is not None and h.released.tx == end.tx), None)
    if giver is None:
        # Nobody's attempt: it was cancelled or expired while it waited.
        if end.state == "completed":
            return f"completed as attempt {end.attempt}, and no lease was given up for it"
        if standing := [h for h in held if h.stands_at(end.seq)]:
            return f"was {end.state} by nobody while lease {standing[0].claimed.lease_id} held it"
        return None
    claimed = giver.claimed
    if end.attempt != claimed.attempt:
        return f"{end.state} as attempt {end.attempt}, and the lease that was given up was of {claimed.attempt}"
    if giver is not held[-1]:
        return f"{end.state} by lease {claimed.lease_id} after lease {held[-1].claimed.lease_id} had claimed it"
    if end.lease_id is not None and end.lease_id != claimed.lease_id:
        return f"keeps a result of lease {end.lease_id}, and lease {claimed.lease_id} held it"
    return None


def _limit(index: _Index) -> Iterator[Violation]:
    limits = index.history.promises.limits
    held: dict[str, dict[tuple[str, str], Claimed]] = defaultdict(dict)
    broken: set[str] = set()
    changes = [event for event in index.history.events if isinstance(event, (Claimed, Released))]
    for change in sorted(changes, key=lambda event: event.seq):
        queue = next((stored.queue for stored in index.job(change.job_id).stored), None)
        if queue is None or queue not in limits:
            continue
        run = (change.lease_id, change.job_id)
        if isinstance(change, Released):
            held[queue].pop(run, None)
            continue
        held[queue][run] = change
        if len(held[queue]) > limits[queue] and queue not in broken:
            broken.add(queue)  # once is enough: what follows would repeat it
            text = f"may have {limits[queue]} jobs leased and had {len(held[queue])} at change {change.seq}"
            yield Violation("limit", f"queue {queue}", text, list(held[queue].values()))


def _unique(index: _Index) -> Iterator[Violation]:
    by_key: dict[tuple[str, str], list[tuple[int, float, Stored]]] = defaultdict(list)
    for job in index.jobs.values():
        for stored in job.stored:
            if stored.unique_key is None or stored.unique_scope not in ("until_claimed", "until_finished"):
                continue
            ends = [end.seq for end in job.finished]
            if stored.unique_scope == "until_claimed":
                ends += [holding.claimed.seq for holding in job.holdings]
            held = (stored.seq, min(ends, default=float("inf")), stored)
            by_key[stored.kind, stored.unique_key].append(held)
    for (kind, key), spans in by_key.items():
        spans.sort(key=lambda span: span[0])
        for (_, until, first), (since, _, second) in pairwise(spans):
            if since < until:
                text = f"of {kind} was held by job {first.job_id} when job {second.job_id} was stored with it"
                shown = [*index.shown(first.job_id), *index.shown(second.job_id)]
                yield Violation("unique", f"key {key}", text, shown)


def _tick(index: _Index) -> Iterator[Violation]:
    by_schedule: dict[str, list[Tick]] = defaultdict(list)
    for tick in index.history.final.ticks:
        by_schedule[tick.schedule_id].append(tick)
    fired: dict[str, list[Stored]] = defaultdict(list)
    for job in index.jobs.values():
        for stored in job.stored:
            if stored.schedule_id is not None:
                fired[stored.schedule_id].append(stored)
    for schedule_id in by_schedule.keys() | fired.keys():
        yield from _ticks_of(index, schedule_id, by_schedule[schedule_id], fired[schedule_id])


def _ticks_of(index: _Index, schedule_id: str, ticks: list[Tick], jobs: list[Stored]) -> Iterator[Violation]:
    subject = f"schedule {schedule_id}"
    by_instant: dict[str | None, list[Stored]] = defaultdict(list)
    for stored in jobs:
        by_instant[stored.fire_at].append(stored)
    for fire_at, twins in by_instant.items():
        if len(twins) > 1:
            yield Violation("tick", subject, f"submitted {len(twins)} jobs for {fire_at}", twins)
    ledger = {tick.job_id for tick in ticks if tick.job_id is not None}
    for stored in jobs:
        if stored.job_id not in ledger:
            yield Violation("tick", subject, f"submitted job {stored.job_id}, which its ledger does not know", [stored])
    known = {stored.job_id for stored in jobs}
    for tick in ticks:
        if tick.outcome == "fired" and tick.job_id not in known:
            yield Violation("tick", subject, "fired an instant without a job", [tick])
    every_ms = index.history.promises.intervals_ms.get(schedule_id)
    if every_ms is None:
        return
    ordered = sorted(ticks, key=lambda tick: tick.fire_at_ms)
    for before, after in pairwise(ordered):
        last_ms = before.missed_until_ms or before.fire_at_ms
        if after.fire_at_ms - last_ms != every_ms:
            text = f"goes from {last_ms} to {after.fire_at_ms} ms, and its interval is {every_ms} ms"
            yield Violation("tick", subject, text, [before, after])


def _effect(index: _Index) -> Iterator[Violation]:
    promised = index.history.promises.effects
    for job in index.jobs.values():
        wanted = promised.get(job.kind)
        if wanted is None:
            if job.effects:
                yield Violation("effect", f"job {job.id}", "has effects, and no such job was stored", job.effects)
            continue
        end = job.finished[-1] if job.finished else None
        count = wanted if end is not None and end.state == "completed" else 0
        shown = index.shown(job.id, *job.effects)
        if len(job.effects) != count:
            state = "not ended" if end is None else end.state
            text = f"is {state} and has {len(job.effects)} effects in place of {count}"
            yield Violation("effect", f"job {job.id}", text, shown)
        elif end is not None:
            claims = {h.claimed.lease_id for h in job.holdings if h.claimed.attempt == end.attempt}
            if any(effect.attempt != end.attempt or effect.lease_id not in claims for effect in job.effects):
                yield Violation("effect", f"job {job.id}", "has effects of an attempt that did not end it", shown)


def _callback(index: _Index) -> Iterator[Violation]:
    for job in index.jobs.values():
        wanted = len(job.finished) if any(stored.has_callback for stored in job.stored) else 0
        subject, shown = f"job {job.id}", index.shown(job.id, *job.deliveries)
        if len(job.deliveries) != wanted:
            text = f"ended {wanted} times with a callback and has {len(job.deliveries)} deliveries"
            yield Violation("callback", subject, text, shown)
        ids = {f"msg_{delivery.id}" for delivery in job.deliveries}
        for delivery in job.deliveries:
            came = [c for c in job.callbacks if c.message_id == f"msg_{delivery.id}" and c.taken]
            if delivery.status != "delivered" or not came:
                text = f"has a delivery that is {delivery.status} and was taken {len(came)} times"
                yield Violation("callback", subject, text, shown)
        for stranger in sorted({came.message_id for came in job.callbacks} - ids):
            yield Violation("callback", subject, f"was told under {stranger}, which is no delivery of it", shown)


RULES: Sequence[Callable[[_Index], Iterator[Violation]]] = (
    _end,
    _answer,
    _attempt,
    _holder,
    _fence,
    _limit,
    _unique,
    _tick,
    _effect,
    _callback,
)


def count(history: History) -> Mapping[str, int]:
    """Return how much of what there was: a history in which nothing happened breaks no rule."""
    counts: dict[str, int] = defaultdict(int)
    for event in history.events:
        counts[type(event).__name__.lower()] += 1
    ends = {(event.job_id, event.attempt) for event in history.events if isinstance(event, Finished)}
    returned = [event for event in history.events if isinstance(event, Ended) and event.error is None]
    counts["returned in vain"] = sum((event.job_id, event.attempt) not in ends for event in returned)
    counts["cut short"] = counts["began"] - counts["ended"]
    counts["effects"] = len(history.final.effects)
    counts["ticks"] = len(history.final.ticks)
    counts["deliveries"] = len(history.final.deliveries)
    return dict(counts)


def _line(event: object) -> str:
    at = getattr(event, "at", None)
    return repr(event) if at is None else f"{at % 100_000:12.6f} {event!r}"
