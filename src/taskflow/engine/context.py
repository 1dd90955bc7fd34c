"""
What a handler is given of its attempt, and what it may say about it.

`JobContext` is the same for every isolation: what differs is the `Sink` that its words go to. In the worker's own loop
that is the completer; in a thread, a hop to the loop; in a child process, the channel to the worker.
"""

import time
from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

from taskflow.engine.job import (
    MAX_LOG_CHARS,
    MAX_LOG_LINES,
    MAX_PROGRESS_CHARS,
    Claim,
    JobId,
    NewLogLine,
    NewProgress,
)
from taskflow.engine.trace import given_headers
from taskflow.kernel.json import storable

LOG_LEVELS = ("debug", "info", "warning", "error")
LINES_DROPPED = f"an attempt keeps {MAX_LOG_LINES} lines; the rest are dropped"


class Retry(Exception):
    """Try again after *after_s* seconds; charged like an error."""

    def __init__(self, after_s: float, reason: str = "the handler asked for another try") -> None:
        super().__init__(reason)
        self.after_s = after_s


class Snooze(Exception):
    """Run again in *for_s* seconds; nothing is charged, the attempt counts."""

    def __init__(self, for_s: float) -> None:
        super().__init__(f"snoozed for {for_s:g} s")
        self.for_s = for_s


class Cancel(Exception):
    """End the job as cancelled."""


class Sink(Protocol):
    """Where an attempt's words go. A sink of a sync handler is called from its thread."""

    def write_line(self, line: NewLogLine) -> None:
        """Take one line of the job's log, in order; must not block for long and must not fail."""

    def write_progress(self, report: NewProgress) -> None:
        """Take a report of progress; the last one counts. Must not block for long and must not fail."""


class JobContext:
    """
    What a handler may know of its attempt, and say about it.

    Attributes:
        state: what the worker's lifespan opened.
        cancelled: the attempt has been told to end: by a cancel, its timeout, or its worker's drain. Handlers on an
            event loop are cancelled besides; one in a thread has only this to look at.
    """

    __slots__ = ("_claim", "_deadline", "_lines", "_sink", "cancelled", "state")

    def __init__(self, claim: Claim, state: Mapping[str, Any], sink: Sink) -> None:
        self._claim = claim
        self._sink = sink
        self._lines = 0
        self._deadline = time.monotonic() + claim.timeout_s
        self.state = state
        self.cancelled = False

    @property
    def claim(self) -> Claim:
        """The right to run this attempt; its lease and position fence every write about it."""
        return self._claim

    @property
    def job_id(self) -> JobId:
        return self._claim.job_id

    @property
    def namespace(self) -> UUID:
        """Whose job it is: what the handler reads and writes belongs to nobody else."""
        return self._claim.namespace

    @property
    def attempt(self) -> int:
        """How many times this job has been claimed, this time included."""
        return self._claim.attempt

    @property
    def failures(self) -> int:
        """How many attempts before this one were charged."""
        return self._claim.failures

    @property
    def kind(self) -> str:
        return self._claim.kind

    @property
    def queue(self) -> str:
        return self._claim.queue

    @property
    def headers(self) -> Mapping[str, str]:
        """What the submitter sent along, and the request's id."""
        return given_headers(self._claim.headers)

    @property
    def remaining_s(self) -> float:
        """Seconds until this attempt is stopped; not below 0."""
        return max(0.0, self._deadline - time.monotonic())

    def log(self, message: str, level: str = "info") -> None:
        """
        Write a line to the job's log, seen at `GET /jobs/{id}/logs`; cut at `MAX_LOG_CHARS`.

        After `MAX_LOG_LINES` lines of one attempt a last one says so, and the rest are dropped.

        Raises:
            ValueError: *level* is none of debug, info, warning, error.
        """
        if level not in LOG_LEVELS:
            raise ValueError(f"level must be one of {', '.join(LOG_LEVELS)}, got {level!r}")
        self._lines += 1
        if self._lines > MAX_LOG_LINES:
            return
        if self._lines == MAX_LOG_LINES:
            level, message = "warning", LINES_DROPPED
        self._sink.write_line(NewLogLine(self._claim, level, storable(str(message))[:MAX_LOG_CHARS], time.monotonic()))

    def progress(self, fraction: float, message: str = "") -> None:
        """
        Report how far the attempt is, seen at `GET /jobs/{id}`; written at most four times a second, the last counts.

        Args:
            fraction: from 0 to 1.
            message: a few words, cut at `MAX_PROGRESS_CHARS`.

        Raises:
            ValueError: *fraction* is not from 0 to 1.
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction must be from 0 to 1, got {fraction!r}")
        text = storable(str(message))[:MAX_PROGRESS_CHARS]
        self._sink.write_progress(NewProgress(self._claim, float(fraction), text, time.monotonic()))
