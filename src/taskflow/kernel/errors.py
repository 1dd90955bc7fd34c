"""
The tree of errors: one class per thing a caller would handle differently.

    TaskFlowError
    ├─ DomainError      expected; carries a stable code, an HTTP status and a detail that is safe to show
    │  ├─ NotFound 404 · NotPermitted 403 · Unauthenticated 401 · Conflict 409 · Invalid 422 · TooLarge 413
    │  └─ RateLimited 429 · Unavailable 503
    ├─ EngineError      LeaseLost · AlreadyFinal · PayloadTooLarge · Permanent (a handler's own verdict)
    ├─ ExternalError    a system we call failed; adapters raise it, never a vendor's own class
    └─ SetupError       the product cannot start; the message says what to do

Surprises are exceptions; outcomes of attempts are values (`engine.job.Outcome`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taskflow.kernel.json import JSONValue


class TaskFlowError(Exception):
    """Something in TaskFlow went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field: *pointer* is a JSON Pointer into the body (RFC 6901) or a parameter's name."""

    pointer: str
    code: str
    detail: str


class DomainError(TaskFlowError):
    """
    The request cannot be carried out.

    Args:
        facts: what a program may read besides, such as the state that stood in the way.
    """

    status = 400
    code = "bad_request"

    def __init__(
        self,
        detail: str | None = None,
        *,
        code: str | None = None,
        errors: Sequence[FieldError] = (),
        retry_after_s: float | None = None,
        facts: Mapping[str, JSONValue] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = str(self.args[0])
        self.code = code or type(self).code
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s
        self.facts = dict(facts or {})

    def __str__(self) -> str:
        """What a traceback says: the detail, and what it leaves out of its fields."""
        said = [f"{e.pointer} {e.detail}".strip() for e in self.errors if e.detail not in self.detail]
        return f"{self.detail}: {'; '.join(said)}" if said else self.detail


class Unauthenticated(DomainError):
    """A valid key is needed."""

    status = 401
    code = "unauthenticated"


class NotPermitted(DomainError):
    """This key may not do that."""

    status = 403
    code = "not_permitted"


class NotFound(DomainError):
    """There is no such thing here."""

    status = 404
    code = "not_found"


class Conflict(DomainError):
    """The present state does not allow that."""

    status = 409
    code = "conflict"


class TooLarge(DomainError):
    """The request is too large."""

    status = 413
    code = "too_large"


class Invalid(DomainError):
    """The request has invalid fields."""

    status = 422
    code = "invalid"


class RateLimited(DomainError):
    """Too many requests in too short a time."""

    status = 429
    code = "rate_limited"


class Unavailable(DomainError):
    """The service cannot answer now; try again shortly."""

    status = 503
    code = "unavailable"


class EngineError(TaskFlowError):
    """The engine refused."""


class LeaseLost(EngineError):
    """The claim was taken back: the attempt's result is not accepted."""


class AlreadyFinal(EngineError):
    """The job has ended and cannot be changed."""

    def __init__(self, message: str | None = None, *, state: str) -> None:
        super().__init__(message)
        self.state = state


class PayloadTooLarge(EngineError):
    """The payload or result is over its limit."""


class Permanent(EngineError):
    """A handler's own verdict: trying again is of no use, the job goes to the dead letters."""


class ExternalError(TaskFlowError):
    """A system that we call failed."""

    def __init__(self, message: str, *, transient: bool, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.retry_after_s = retry_after_s


class SetupError(TaskFlowError):
    """TaskFlow cannot start."""
