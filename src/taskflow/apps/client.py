"""What `from taskflow import …` gives, loaded when first asked for: an import of `taskflow` alone stays cheap."""

from taskflow.apps.sdk.app import TaskFlow
from taskflow.apps.sdk.context import JobContext
from taskflow.apps.sdk.function import JobFunction
from taskflow.apps.sdk.handle import Handle, JobCancelled, JobFailed
from taskflow.engine.context import Cancel, Retry, Snooze
from taskflow.engine.job import Job, NewJob, State
from taskflow.kernel.errors import (
    AlreadyFinal,
    ExternalError,
    Invalid,
    LeaseLost,
    NotFound,
    PayloadTooLarge,
    Permanent,
    SetupError,
    TaskFlowError,
    Unavailable,
)

__all__ = [
    "AlreadyFinal",
    "Cancel",
    "ExternalError",
    "Handle",
    "Invalid",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobFailed",
    "JobFunction",
    "LeaseLost",
    "NewJob",
    "NotFound",
    "PayloadTooLarge",
    "Permanent",
    "Retry",
    "SetupError",
    "Snooze",
    "State",
    "TaskFlow",
    "TaskFlowError",
    "Unavailable",
]
