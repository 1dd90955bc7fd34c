"""The loop that every process runs beside its work, for tables whose rows have their time."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from taskflow.db.pool import DATABASE_ERRORS


async def prune_for_ever(
    prune: Callable[[], Awaitable[int]], *, batch: int, interval_s: float, on_error: Callable[[Exception], None]
) -> None:
    """
    Call *prune* about every *interval_s*, again at once as long as it deletes a whole *batch*.

    Several processes may: rows that one holds are skipped by the others. A database that is away goes to *on_error*.
    """
    while True:
        await asyncio.sleep(interval_s * random.uniform(0.5, 1.5))  # noqa: S311 -- spreads load
        try:
            while await prune() == batch:
                pass
        except DATABASE_ERRORS as error:
            on_error(error)
