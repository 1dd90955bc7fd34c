"""
Which kinds of job a process can run, and what a handler is given.

    registry = Registry()

    @registry.job("resize", payload=Resize, timeout_s=20)
    async def resize(ctx: JobContext, payload: Resize) -> Resized: ...

A payload type is a `msgspec.Struct`; its JSON Schema is published by workers, and the API refuses what does not fit
before it is stored. Handlers return anything that is JSON, or raise: `Retry`, `Snooze`, `Cancel` from here, `Permanent`
and `ExternalError` from `kernel.errors`; anything else is an error and is retried.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from taskflow.engine.job import (
    DEFAULT_QUEUE,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_S,
    MAX_LOG_CHARS,
    MAX_LOG_LINES,
    PRIORITY_NORMAL,
    Claim,
    JobId,
    KindInfo,
    NewLogLine,
)
from taskflow.engine.policy import Backoff, default_backoff

P = TypeVar("P")

LOG_LEVELS = ("debug", "info", "warning", "error")


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


class JobContext:
    """What a handler may know of its attempt, and say about it."""

    __slots__ = ("_claim", "_deadline", "_lines", "_write_line", "cancelled", "state")

    def __init__(self, claim: Claim, state: Mapping[str, Any], write_line: Callable[[NewLogLine], None]) -> None:
        self._claim = claim
        self._write_line = write_line
        self._lines = 0
        self._deadline = time.monotonic() + claim.timeout_s
        self.state = state
        self.cancelled = False

    @property
    def job_id(self) -> JobId:
        return self._claim.job_id

    @property
    def namespace(self) -> UUID:
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
        """What the submitter sent along: request id, trace context."""
        return self._claim.headers

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
            level, message = "warning", f"an attempt keeps {MAX_LOG_LINES} lines; the rest are dropped"
        text = str(message).replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode()
        self._write_line(NewLogLine(self._claim, level, text[:MAX_LOG_CHARS], time.monotonic()))


@dataclass(frozen=True, slots=True)
class Kind(Generic[P]):
    """A registered kind: its handler, its payload's type, and what its jobs get unless they say otherwise."""

    info: KindInfo
    schema_hash: str
    handler: Callable[[JobContext, P], Awaitable[Any]]
    decode: Callable[[str], P]
    backoff: Backoff


class Registry:
    """The kinds of one process. Filled at import, read ever after."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind[Any]] = {}

    def job(
        self,
        kind: str,
        *,
        payload: type[P],
        queue: str = DEFAULT_QUEUE,
        priority: int = PRIORITY_NORMAL,
        retries: int = DEFAULT_RETRIES,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        backoff: Backoff = default_backoff,
    ) -> Callable[[Callable[[JobContext, P], Awaitable[Any]]], Callable[[JobContext, P], Awaitable[Any]]]:
        """
        Register a handler.

        Args:
            backoff: seconds to wait before the next attempt, from the number of failures so far.

        Raises:
            ValueError: the kind is registered already.
        """

        def register(
            handler: Callable[[JobContext, P], Awaitable[Any]],
        ) -> Callable[[JobContext, P], Awaitable[Any]]:
            if kind in self._kinds:
                raise ValueError(f"kind {kind!r} is registered twice")
            schema = msgspec.json.schema(payload)
            text = msgspec.json.encode(schema, order="deterministic")
            info = KindInfo(kind, queue, schema, retries, timeout_s, priority)
            self._kinds[kind] = Kind(
                info, hashlib.sha256(text).hexdigest()[:16], handler, msgspec.json.Decoder(payload).decode, backoff
            )
            return handler

        return register

    def __getitem__(self, kind: str) -> Kind[Any]:
        return self._kinds[kind]

    def __len__(self) -> int:
        return len(self._kinds)

    @property
    def names(self) -> Sequence[str]:
        return sorted(self._kinds)

    @property
    def queues(self) -> Sequence[str]:
        """The queues that these kinds' jobs go to unless they say otherwise."""
        return sorted({kind.info.queue for kind in self._kinds.values()})

    @property
    def published(self) -> list[tuple[KindInfo, str]]:
        """Each kind with the hash of its schema."""
        return [(self._kinds[name].info, self._kinds[name].schema_hash) for name in self.names]
