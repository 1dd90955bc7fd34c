"""Queues and kinds are there as soon as something names them; so a misspelt name is no error, but worth a remark."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from uuid import UUID

from taskflow.engine.client import Engine
from taskflow.engine.job import JobFilter
from taskflow.jobs.naming import known_kinds, unknown_in
from taskflow.kernel.errors import NotFound


async def remarks_on_queues(engine: Engine, names: Iterable[str]) -> list[str]:
    """Return a line for each of *names* that nothing has named before, with the name that may be meant."""
    strange = []
    for name in names:
        try:
            await engine.get_queue(name)
        except NotFound:
            strange.append(name)
    if not strange:
        return []
    known = await _known_queues(engine)
    return [
        f"no pending job, live worker, kind or setting names queue {name!r} yet{_meant(name, known)}"
        for name in strange
    ]


async def remarks_on_filter(engine: Engine, namespace: UUID, chosen: JobFilter) -> list[str]:
    """Return a line for each name in a filter that found nothing which no job has and nothing else names."""
    remarks = []
    for field in await unknown_in(engine, namespace, chosen):
        if field == "queue":
            name, what, known = chosen.queue or "", "queue", await _known_queues(engine)
        else:
            name, what, known = chosen.kind or "", "kind", await known_kinds(engine, namespace)
        remarks.append(f"there is no {what} {name!r}, and no job of it{_meant(name, known)}")
    return remarks


async def _known_queues(engine: Engine) -> Sequence[str]:
    return [queue.name for queue in await engine.list_queues() if queue.known]


def _meant(name: str, known: Sequence[str]) -> str:
    meant = get_close_matches(name, known, n=1)
    return f"; did you mean {meant[0]!r}?" if meant else ""
