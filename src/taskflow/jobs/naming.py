"""Which names in a filter nothing has: a filter with a misspelt one finds no job, and looks like one that is done."""

from collections.abc import Sequence
from uuid import UUID

from taskflow import kinds
from taskflow.engine.client import Engine
from taskflow.engine.job import JobFilter
from taskflow.kernel.errors import NotFound


async def unknown_in(engine: Engine, namespace: UUID, chosen: JobFilter) -> list[str]:
    """
    Return the fields of *chosen*, as the API calls them, whose name nothing has.

    A queue that no worker, kind or setting names and a kind that no worker offers are known by a job of it all the
    same; when so many jobs would have to be looked at that nobody can say, they are taken for known.
    """
    unknown = []
    if (
        chosen.kind is not None
        and chosen.kind not in await known_kinds(engine, namespace)
        and await _is_empty(engine, namespace, JobFilter(kind=chosen.kind))
    ):
        unknown.append("taskType")
    if (
        chosen.queue is not None
        and not await _names_queue(engine, chosen.queue)
        and await _is_empty(engine, namespace, JobFilter(queue=chosen.queue))
    ):
        unknown.append("queue")
    return unknown


async def known_kinds(engine: Engine, namespace: UUID) -> Sequence[str]:
    """Return the kinds that workers have offered to *namespace*."""
    return [
        info.kind
        for info in await engine.list_kinds()
        if info.kind not in kinds.INTERNAL and info.namespace in (None, namespace)
    ]


async def _names_queue(engine: Engine, name: str) -> bool:
    try:
        await engine.get_queue(name)
    except NotFound:
        return False
    return True


async def _is_empty(engine: Engine, namespace: UUID, chosen: JobFilter) -> bool:
    page = await engine.list_jobs(namespace, chosen, limit=1)
    return not page.items and page.next_before is None
