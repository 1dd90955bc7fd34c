"""
What the jobs of a period came to, counted one by one, in memory that does not grow with their number but for a
duration of eight bytes each.
"""

import math
from array import array
from collections import Counter, defaultdict
from datetime import datetime
from typing import TypeAlias

from taskflow.engine.record import EndedJob
from taskflow.kinds.report import Durations, ErrorSummary, KindSummary, ReportSummary
from taskflow.telemetry.log import redacted

MAX_KINDS = 200
MAX_ERRORS = 1000  # different ones; what comes after is counted together
MAX_ERROR_CHARS = 200  # after secrets have been taken out: cut off before, half of one would not be known
TOP_ERRORS = 10
TOP_KINDS = 20  # in the summary; the file has all
OTHER = "(other)"
STATES = ("completed", "failed", "cancelled")

Cell: TypeAlias = tuple[str, str, datetime]  # kind, state, hour


class Tally:
    """Counts what it is told of."""

    def __init__(self) -> None:
        self.cells: Counter[Cell] = Counter()
        self._errors: Counter[tuple[str, str]] = Counter()
        self._durations_ms: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self._kinds: set[str] = set()

    def add(self, job: EndedJob) -> None:
        kind = self._known(job.kind)
        self.cells[kind, job.state, job.finished_at.replace(minute=0, second=0, microsecond=0)] += 1
        if job.state == "completed" and job.duration_s is not None:
            self._durations_ms[kind].append(max(job.duration_s, 0.0) * 1000)
        if job.state == "failed":
            words = ": ".join(part for part in (job.error_type, job.error_message) if part) or "no error was kept"
            error = kind, " ".join(redacted(words).split())[:MAX_ERROR_CHARS]
            if error not in self._errors and len(self._errors) >= MAX_ERRORS:
                error = OTHER, OTHER
            self._errors[error] += 1

    def summary(self) -> ReportSummary:
        """Return the short form: the kinds with most jobs, and the errors met most often."""
        states = self.by("state")
        every = array("d")
        for durations in self._durations_ms.values():
            every.extend(durations)
        return ReportSummary(
            jobs=self.cells.total(),
            completed=states["completed"],
            failed=states["failed"],
            cancelled=states["cancelled"],
            durations=_durations(every),
            kinds=self.kinds()[:TOP_KINDS],
            errors=self.errors()[:TOP_ERRORS],
        )

    def kinds(self) -> list[KindSummary]:
        """Return every kind, that with most jobs first."""
        counts: Counter[tuple[str, str]] = Counter()
        for (kind, state, _), jobs in self.cells.items():
            counts[kind, state] += jobs
        order = sorted(self._kinds, key=lambda kind: (-sum(counts[kind, state] for state in STATES), kind))
        return [
            KindSummary(
                task_type=kind,
                completed=counts[kind, "completed"],
                failed=counts[kind, "failed"],
                cancelled=counts[kind, "cancelled"],
                durations=_durations(self._durations_ms.get(kind, array("d"))),
            )
            for kind in order
        ]

    def errors(self) -> list[ErrorSummary]:
        """Return errors, those met most often first."""
        found = sorted(self._errors.items(), key=lambda item: (-item[1], item[0]))
        return [ErrorSummary(task_type=kind, error=error, jobs=jobs) for (kind, error), jobs in found]

    def by(self, what: str) -> Counter[str]:
        """Count by `state`, or by `hour` or `day` as text."""
        counts: Counter[str] = Counter()
        for (_, state, hour), jobs in self.cells.items():
            counts[state if what == "state" else hour.isoformat()[: 10 if what == "day" else 13]] += jobs
        return counts

    def rows(self) -> list[tuple[datetime, str, str, int]]:
        """Return hour, kind, state and number of jobs, in that order."""
        return sorted((hour, kind, state, jobs) for (kind, state, hour), jobs in self.cells.items())

    def _known(self, kind: str) -> str:
        if kind not in self._kinds:
            if len(self._kinds) >= MAX_KINDS:
                kind = OTHER
            self._kinds.add(kind)
        return kind


def _durations(values: "array[float]") -> Durations:
    ordered = sorted(values)
    return Durations(
        p50_ms=_percentile(ordered, 0.5), p95_ms=_percentile(ordered, 0.95), max_ms=_percentile(ordered, 1)
    )


def _percentile(ordered: list[float], share: float) -> float | None:
    """Return the least value that *share* of all are not above."""
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3) if ordered else None
