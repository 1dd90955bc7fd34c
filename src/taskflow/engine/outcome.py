"""
What an attempt comes to: how its call ended, or why it was told to end, as an `Outcome` by the rules of `policy`.

The kind's own backoff is the application's function: if it fails, the default one takes its place, for the job must
not hang on it.
"""

from enum import Enum
from typing import Any, Protocol, assert_never

from taskflow.engine import policy
from taskflow.engine.isolation.ending import (
    CpuSpent,
    Crashed,
    Ending,
    Interrupted,
    NotStarted,
    Raised,
    Returned,
    Verdict,
)
from taskflow.engine.job import Claim, JobError, Outcome, OutcomeKind
from taskflow.engine.registry import Kind
from taskflow.telemetry.log import get_logger

_log = get_logger(__name__)


class Stop(Enum):
    """Why an attempt was told to end."""

    TIMEOUT = "timeout"
    CANCEL = "cancel"
    HAND_BACK = "hand_back"
    LOST = "lost"


class Ended(Protocol):
    """What must be known of an attempt to say what its end means."""

    @property
    def claim(self) -> Claim: ...
    @property
    def kind(self) -> Kind[Any]: ...
    @property
    def elapsed_s(self) -> float | None: ...


def outcome_of(attempt: Ended, ending: Ending) -> Outcome:
    """What an attempt comes to whose call ended by itself."""
    claim, elapsed_s = attempt.claim, attempt.elapsed_s
    match ending:
        case Returned(result):
            return policy.completed(claim, result, elapsed_s)
        case Raised(Verdict.SNOOZE, _, wait_s):
            return policy.snoozed(claim, wait_s or 0.0, elapsed_s)
        case Raised(Verdict.CANCEL):
            return policy.cancelled(claim, elapsed_s)
        case Raised(Verdict.PERMANENT, error):
            return policy.failed_for_good(claim, error, elapsed_s)
        case Raised(_, error, wait_s):
            return _failed(attempt, OutcomeKind.ERROR, error, retry_after_s=wait_s)
        case NotStarted(error):
            return _failed(attempt, OutcomeKind.ERROR, error)
        case CpuSpent(limit_s):
            spent = JobError("CpuLimit", f"stopped after {limit_s} s of CPU time, the kind's limit")
            return _failed(attempt, OutcomeKind.TIMEOUT, spent)
        case Interrupted():
            return policy.handed_back(claim, elapsed_s)
        case Crashed(error):
            return _crashed(attempt, error)
        case _:
            assert_never(ending)


def outcome_of_stop(attempt: Ended, stop: Stop) -> Outcome:
    """What an attempt comes to that was told to end."""
    claim, elapsed_s = attempt.claim, attempt.elapsed_s
    match stop:
        case Stop.TIMEOUT:
            error = JobError("Timeout", f"stopped after {claim.timeout_s:g} s, the job's timeout")
            return _failed(attempt, OutcomeKind.TIMEOUT, error)
        case Stop.CANCEL:
            return policy.cancelled(claim, elapsed_s)
        case Stop.HAND_BACK | Stop.LOST:
            return policy.handed_back(claim, elapsed_s)
        case _:
            assert_never(stop)


def _failed(attempt: Ended, outcome: OutcomeKind, error: JobError, *, retry_after_s: float | None = None) -> Outcome:
    """Charge the attempt."""
    claim, elapsed_s, backoff = attempt.claim, attempt.elapsed_s, attempt.kind.backoff
    try:
        return policy.failed(claim, outcome, error, elapsed_s, backoff=backoff, retry_after_s=retry_after_s)
    except Exception:  # noqa: BLE001 -- it is the application's function
        _log.exception("taskflow.attempt.exception", job_id=str(claim.job_id), kind=claim.kind)
        return policy.failed(claim, outcome, error, elapsed_s)


def _crashed(attempt: Ended, error: JobError) -> Outcome:
    """Charge the crash."""
    claim, elapsed_s = attempt.claim, attempt.elapsed_s
    _log.error("taskflow.attempt.crashed", job_id=str(claim.job_id), kind=claim.kind, error=error.message)
    try:
        return policy.crashed(claim, error, elapsed_s, backoff=attempt.kind.backoff)
    except Exception:  # noqa: BLE001 -- it is the application's function
        _log.exception("taskflow.attempt.exception", job_id=str(claim.job_id), kind=claim.kind)
        return policy.crashed(claim, error, elapsed_s)
