"""
What the call of a handler came to, as a value that can cross a process boundary.

`Returned` and `Raised` are the handler's own doing, described where it ran. The others are seen from outside, by the
one who waits for a child process.
"""

import traceback
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from taskflow.engine import policy
from taskflow.engine.context import Cancel, Retry, Snooze
from taskflow.engine.job import JobError
from taskflow.kernel.errors import ExternalError, Permanent

_PACKAGE = Path(__file__).parents[2]
_OURS = (f"{_PACKAGE / 'engine'}/", f"{_PACKAGE / 'apps' / 'sdk'}/")  # frames between the attempt and its handler


class Verdict(StrEnum):
    """What a handler says becomes of its job by raising."""

    ERROR = "error"
    PERMANENT = "permanent"
    SNOOZE = "snooze"
    CANCEL = "cancel"


class Returned(msgspec.Struct, frozen=True, tag="returned", gc=False):
    """The handler returned; *result* is the JSON text of what."""

    result: str


class Raised(msgspec.Struct, frozen=True, tag="raised", gc=False):
    """
    The handler raised, or was never called because its payload does not fit.

    Args:
        wait_s: how long to wait before the next attempt, if it said so.
    """

    verdict: Verdict
    error: JobError
    wait_s: float | None = None


class Crashed(msgspec.Struct, frozen=True, tag="crashed", gc=False):
    """The process of the handler ended under it."""

    error: JobError


class CpuSpent(msgspec.Struct, frozen=True, tag="cpu_spent", gc=False):
    """The attempt used up its CPU time, and the system ended its process."""

    limit_s: int


class NotStarted(msgspec.Struct, frozen=True, tag="not_started", gc=False):
    """No child process could be had for it; the handler was not called."""

    error: JobError


class Interrupted(msgspec.Struct, frozen=True, tag="interrupted", gc=False):
    """
    Somebody else than its worker told the process to end: a service manager that signals a whole group, or the job.

    It says nothing about the job if the worker was told as well.
    """


Ending: TypeAlias = Returned | Raised | Crashed | CpuSpent | NotStarted | Interrupted


def returned(result: Any) -> Returned | Raised:
    """Describe what a handler returned."""
    text = policy.encode_result(result)
    return Raised(Verdict.PERMANENT, text) if isinstance(text, JobError) else Returned(text)


def bad_payload(error: Exception) -> Raised:
    """Describe a payload that does not fit its kind's type."""
    return Raised(Verdict.PERMANENT, JobError("InvalidPayload", str(error)))


def raised(error: BaseException) -> Raised:
    """Describe what a handler raised. Itself it raises nothing but what describing the error does."""
    match error:
        case Snooze():
            return Raised(Verdict.SNOOZE, JobError("Snooze", str(error)), error.for_s)
        case Cancel():
            return Raised(Verdict.CANCEL, JobError("Cancel", str(error)))
        case Retry():
            return Raised(Verdict.ERROR, JobError("Retry", str(error)), error.after_s)
        case Permanent():
            return Raised(Verdict.PERMANENT, _describe(error, with_traceback=False))
        case ExternalError() if not error.transient:
            return Raised(Verdict.PERMANENT, _describe(error, with_traceback=False))
        case ExternalError():
            return Raised(Verdict.ERROR, _describe(error, with_traceback=False), error.retry_after_s)
        case _:
            return Raised(Verdict.ERROR, _describe(error, with_traceback=True))


def _describe(error: BaseException, *, with_traceback: bool) -> JobError:
    first = error.__traceback__
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_OURS):
        first = first.tb_next  # ours, not the handler's
    trace = "".join(traceback.format_exception(type(error), error, first)) if with_traceback else None
    return policy.cut_error(JobError(type(error).__name__, str(error), trace))
