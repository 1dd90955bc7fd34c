"""An outage of TaskFlow's own database under a handler of ours: it says nothing about the job, and costs it nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

from taskflow.db.pool import OUTAGE_ERRORS
from taskflow.engine.registry import Snooze

AWAY_S = 5.0  # until the next attempt; a worker claims none while the database is away for it too


@contextmanager
def uncharged() -> Iterator[None]:
    """Around statements of ours, and nothing else: run the job again soon if the database goes away under them."""
    try:
        yield
    except OUTAGE_ERRORS as error:
        raise Snooze(AWAY_S) from error
