"""
Where claims begin to look.

A claimed row is deleted, and its index entry stays until VACUUM comes, which an old snapshot anywhere in the database
can put off for hours. Each claim that begins at the front of its queue walks over all of them: after 90,000 jobs it
costs twice what the first one did (docs/decisions/0004 has the figures). So a process remembers, for each queue and
priority, the last job it took, and begins behind it.

Jobs can be in front of that place all the same: their transaction was long in committing, a claim of theirs was taken
back, they were passed over while somebody had them locked. For these it begins at the front again from time to time:
as soon as twenty times as long has passed as the last such claim took. While claims are fast this is nearly always,
and when they are slow it is a twentieth of the time.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from taskflow.engine.job import MAX_PRIORITY
from taskflow.telemetry.metrics import CLAIM_FULL_SCAN_SECONDS

REST = 20.0  # times what a claim from the front took, until the next one
REST_CAP_S = 10.0
PRIORITIES = MAX_PRIORITY + 1

Place = tuple[datetime, UUID]  # run_at and id of a job: where it stands among those of its queue and priority


@dataclass(frozen=True, slots=True)
class Scan:
    """Where one claim begins, as the statement takes it: ten places for each queue; empty arrays for the front."""

    after_run_at: Sequence[datetime | None] = ()
    after_job_id: Sequence[UUID | None] = ()


FROM_THE_FRONT = Scan()


class ScanBound:
    """The places of one process. Every claim of its own `begin`s with it and tells it what it got by `end`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: dict[tuple[str, int], Place] = {}
        self._front_due_s = 0.0
        self._began_s = 0.0
        self._from_front = True

    def begin(self, queues: Sequence[str]) -> Scan:
        """Say where the next claim of *queues* begins."""
        self._began_s = self._clock()
        self._from_front = not self._places or self._began_s >= self._front_due_s
        if self._from_front:
            return FROM_THE_FRONT
        places = [self._places.get((queue, priority)) for queue in queues for priority in range(PRIORITIES)]
        return Scan([place and place[0] for place in places], [place and place[1] for place in places])

    def end(self, last: Mapping[tuple[str, int], Place]) -> None:
        """The claim took jobs, the *last* ones of each queue and priority at these places."""
        if self._from_front:
            took_s = self._clock() - self._began_s
            CLAIM_FULL_SCAN_SECONDS.set(took_s)
            self._front_due_s = self._began_s + took_s + min(REST * took_s, REST_CAP_S)
        for lane, place in last.items():
            if lane not in self._places or place > self._places[lane]:
                self._places[lane] = place
