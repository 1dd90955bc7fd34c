"""
What is known of a run: events of clients, handlers, receivers and the database, and what the database holds at the end.

    clients    called ── answered | refused | unknown     handlers   began ── ended
    database   stored, claimed, released, ended, reopened receivers  callback came
    run        fault began ── fault ended

An answer that never came is *unknown*: the submit may have been stored, or not, or be stored yet. Jepsen calls this
`info`. Taking it for a refusal finds loss where there is none; taking it for an answer, a job that was never promised.

Events of clients, handlers and receivers carry the machine's clock and are shown in its order. Those of the database
carry a number from one sequence as well (`seq`): it was drawn inside the transaction, after whatever that transaction
had waited for, so of two changes of which one had to see the other, the numbers have the right order.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Union

import msgspec


class _Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event"):
    at: float  # seconds since 1970, by the machine's clock
    source: str = ""  # where it was recorded


# Clients ---------------------------------------------------------------------------------------------------------


class Called(_Event, frozen=True, kw_only=True, tag="called"):
    """A client submits. With a key, it may do so several times under the same *op*."""

    op: str
    key: str | None = None  # Idempotency-Key
    unique_key: str | None = None


class Answered(_Event, frozen=True, kw_only=True, tag="answered"):
    """The submit was acknowledged: from here on the job is promised."""

    op: str
    job_id: str


class Refused(_Event, frozen=True, kw_only=True, tag="refused"):
    """The submit was refused, or its transaction rolled back: it must not have been stored."""

    op: str
    why: str


class Unknown(_Event, frozen=True, kw_only=True, tag="unknown"):
    """Nobody knows what became of the submit."""

    op: str
    why: str


# Handlers --------------------------------------------------------------------------------------------------------


class Began(_Event, frozen=True, kw_only=True, tag="began"):
    """A handler was called."""

    job_id: str
    attempt: int
    lease_id: str
    kind: str = ""


class Ended(_Event, frozen=True, kw_only=True, tag="ended"):
    """A handler returned, or raised (*error*). What was killed has no such event."""

    job_id: str
    attempt: int
    lease_id: str
    error: str | None = None


# Receivers -------------------------------------------------------------------------------------------------------


class CallbackCame(_Event, frozen=True, kw_only=True, tag="callback"):
    """A callback arrived; *taken* says whether it was answered with 2xx."""

    message_id: str
    job_id: str
    taken: bool


# The run ---------------------------------------------------------------------------------------------------------


class Fault(_Event, frozen=True, kw_only=True, tag="fault"):
    """Something was broken, or healed. No rule looks at it; people do."""

    what: str


# The database ----------------------------------------------------------------------------------------------------


class _Change(_Event, frozen=True, kw_only=True):
    seq: int
    tx: int  # the transaction: what has the same number happened together


class Stored(_Change, frozen=True, kw_only=True, tag="stored"):
    """A job's body was written. *op* is what the client called it in its payload."""

    job_id: str
    kind: str
    queue: str
    op: str | None = None
    unique_key: str | None = None
    unique_scope: str | None = None
    has_callback: bool = False
    schedule_id: str | None = None
    fire_at: str | None = None


class Claimed(_Change, frozen=True, kw_only=True, tag="claimed"):
    """A lease on the job was written: an attempt may run."""

    job_id: str
    attempt: int
    lease_id: str


class Released(_Change, frozen=True, kw_only=True, tag="released"):
    """The lease's bit of the job was cleared, or the lease deleted: it was ended or taken back."""

    job_id: str
    attempt: int
    lease_id: str


class Finished(_Change, frozen=True, kw_only=True, tag="finished"):
    """The job's terminal row was written. *lease_id* is what its result says it was returned under."""

    job_id: str
    attempt: int
    state: str
    lease_id: str | None = None


class Reopened(_Change, frozen=True, kw_only=True, tag="reopened"):
    """The job's terminal row was deleted: somebody runs it again."""

    job_id: str


Event = Union[  # noqa: UP007 -- msgspec needs it at run time
    Called,
    Answered,
    Refused,
    Unknown,
    Began,
    Ended,
    CallbackCame,
    Fault,
    Stored,
    Claimed,
    Released,
    Finished,
    Reopened,
]


# The end ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """A row of the schedules' ledger; *fire_at* and *missed_until* in milliseconds since 1970."""

    schedule_id: str
    fire_at_ms: int
    outcome: str
    job_id: str | None = None
    missed_until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of `webhook_delivery`."""

    id: str
    job_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Effect:
    """A row that a handler wrote through `ctx.transaction()`."""

    job_id: str
    attempt: int
    lease_id: str


@dataclass(frozen=True, slots=True)
class Final:
    """
    What the database held when everything had come to rest.

    Args:
        places: by job, every place that it was found in: `ready`, `deferred`, `lease`, or a terminal state.
    """

    places: Mapping[str, Sequence[str]] = field(default_factory=dict)
    effects: Sequence[Effect] = ()
    ticks: Sequence[Tick] = ()
    deliveries: Sequence[Delivery] = ()


@dataclass(frozen=True, slots=True)
class Promises:
    """
    What was asked for, and so is to be held.

    Args:
        limits: by queue, how many of its jobs may be leased at once.
        intervals_ms: by schedule, from one of its instants to the next.
        effects: by kind, how many rows each completed job of it writes in its transaction.
    """

    limits: Mapping[str, int] = field(default_factory=dict)
    intervals_ms: Mapping[str, int] = field(default_factory=dict)
    effects: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """All that is known of a run; *events* in order."""

    events: Sequence[Event]
    final: Final
    promises: Promises = Promises()

    def of_job(self, job_id: str) -> Iterator[Event]:
        return (event for event in self.events if getattr(event, "job_id", None) == job_id)


def in_order(events: Sequence[Event]) -> list[Event]:
    """
    Return *events* by the machine's clock, those of the database among themselves by their number.

    A clock that is set back during a run would tear the two apart: then the number counts, and the database's events
    move on to the latest instant seen.
    """
    changes = sorted((event for event in events if isinstance(event, _Change)), key=lambda change: change.seq)
    latest, keyed = 0.0, []
    for change in changes:
        latest = max(latest, change.at)
        keyed.append((latest, change.seq, change))
    others = [(event.at, 0, event) for event in events if not isinstance(event, _Change)]
    return [event for _, _, event in sorted([*keyed, *others], key=lambda entry: entry[:2])]
