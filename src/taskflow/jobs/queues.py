"""How queues are shown: over HTTP and on the command line, which loads no web framework for it."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from taskflow.engine.job import QueueInfo


class QueueView(msgspec.Struct, frozen=True, rename="camel"):
    """A queue: what was said of it, and what is in it."""

    name: str
    known: Annotated[
        bool,
        Meta(
            description="A job that is due or active, a live worker or a kind names it. If not, only what was said of "
            "it does: the name may be misspelt."
        ),
    ]
    paused: Annotated[bool, Meta(description="Its jobs are not handed out.")]
    paused_at: datetime | None
    draining: Annotated[bool, Meta(description="It takes no new jobs.")]
    draining_at: datetime | None
    concurrency: Annotated[int | None, Meta(description="How many may be active at once; null: no limit.")]
    pending: Annotated[int, Meta(description="Jobs that are due; counted up to 10,000.")]
    active: Annotated[int, Meta(description="Jobs that workers hold now.")]
    oldest_due_age: Annotated[int | None, Meta(description="Milliseconds since the first of them has been due.")]
    workers: Annotated[int, Meta(description="Live workers that serve it.")]


class QueuePageView(msgspec.Struct, frozen=True, rename="camel"):
    """A page of queues, by name."""

    items: list[QueueView]
    next_cursor: Annotated[str | None, Meta(description="Of the next page; null at the end.")]


def view_of_queue(queue: QueueInfo) -> QueueView:
    return QueueView(
        name=queue.name,
        known=queue.known,
        paused=queue.paused_at is not None,
        paused_at=queue.paused_at,
        draining=queue.draining_at is not None,
        draining_at=queue.draining_at,
        concurrency=queue.concurrency,
        pending=queue.pending,
        active=queue.active,
        oldest_due_age=None if queue.oldest_due_age_s is None else round(queue.oldest_due_age_s * 1000),
        workers=queue.workers,
    )
