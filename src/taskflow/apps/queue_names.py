"""Queues are there as soon as something names them; so a misspelt name is no error, but worth a remark."""

from collections.abc import Sequence
from difflib import get_close_matches

from taskflow.engine.client import Engine
from taskflow.kernel.errors import NotFound


async def remarks_on(engine: Engine, names: Sequence[str]) -> list[str]:
    """Return a line for each of *names* that nothing has named before, with the name that may be meant."""
    strange = []
    for name in names:
        try:
            await engine.get_queue(name)
        except NotFound:
            strange.append(name)
    if not strange:
        return []
    known = [queue.name for queue in await engine.list_queues()]
    return [_remark(name, get_close_matches(name, known, n=1)) for name in strange]


def _remark(name: str, meant: Sequence[str]) -> str:
    question = f"; did you mean {meant[0]!r}?" if meant else ""
    return f"no pending job, live worker, kind or setting names queue {name!r} yet{question}"
