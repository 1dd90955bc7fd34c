"""A submitted job as its submitter sees it: where it is, what it came to, and how to stop it."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID

import msgspec

from taskflow.apps.sdk import models
from taskflow.engine.job import Cancellation, FailureReason, Job, JobId, State
from taskflow.engine.record import Hindrance
from taskflow.kernel.errors import TaskFlowError
from taskflow.telemetry.log import get_logger

if TYPE_CHECKING:
    from taskflow.apps.sdk.app import TaskFlow

R_co = TypeVar("R_co", covariant=True)

FIRST_LOOK_S, LAST_LOOK_S = 0.01, 0.5  # between two looks at a job that is waited for
UNCLAIMED_S = 3.0  # a job that is pending for so long may have nobody to run it
REMARK_EVERY_S = 60.0  # at most, of jobs of the same kind and queue
MAX_REMARKS = 1000  # pairs of kind and queue that are remembered

_log = get_logger(__name__)


class JobFailed(TaskFlowError):
    """
    The job failed for good.

    Attributes:
        error_type, error, traceback: of the last attempt.
        failure_reason: why there was no other attempt.
    """

    def __init__(self, job: Job) -> None:
        self.job_id = job.id
        self.attempts = job.attempt
        self.failure_reason: FailureReason | None = job.failure_reason
        self.error_type = job.error.type if job.error else None
        self.error = job.error.message if job.error else None
        self.traceback = job.error.traceback if job.error else None
        why = f": {self.error_type}: {self.error}" if job.error else ""
        super().__init__(f"job {job.id} ({job.kind}) failed ({job.failure_reason}) after {job.attempt} attempts{why}")


class JobCancelled(TaskFlowError):
    """The job was cancelled."""

    def __init__(self, job: Job) -> None:
        self.job_id = job.id
        super().__init__(f"job {job.id} ({job.kind}) was cancelled")


class Handle(Generic[R_co]):
    """
    A job by its id. Each method looks at the database; those ending in `_sync` need no event loop.

    Every method raises NotFound if there is no such job (yet: a transaction that is not committed shows nothing).

    Attributes:
        duplicate: the submit stored nothing, because this job held its unique key already. None if the handle is of no
            submit.
    """

    __slots__ = ("_app", "_result_type", "duplicate", "job_id")

    def __init__(self, app: "TaskFlow", job_id: UUID, result_type: Any = Any, *, duplicate: bool | None = None) -> None:
        self._app = app
        self._result_type = result_type
        self.job_id = JobId(job_id)
        self.duplicate = duplicate

    def __repr__(self) -> str:
        return f"Handle({str(self.job_id)!r})"

    async def job(self) -> Job:
        """Return the job as it is now."""
        return await self._app.get_job(self.job_id)

    async def status(self) -> State:
        """Return the state that the job is in."""
        return (await self.job()).state

    async def result(self, *, timeout_s: float | None = None) -> R_co:
        """
        Wait for the job's end and return its result.

        Args:
            timeout_s: how long to wait; None waits for ever.

        A job that stays pending because no live worker runs it, or its queue is paused, is warned of in the log.

        Raises:
            JobFailed, JobCancelled: it ended otherwise.
            TimeoutError: it has not ended in time; it goes on. Says why, if nobody runs it.
        """
        patience = _Patience(self._app.remarks)
        for wait_s in _waits_s(timeout_s):
            job = await self.job()
            if job.state.is_terminal:
                return self._result_of(job)
            hindrance = await self._app.find_hindrance(job) if patience.asks(job, is_last=wait_s is None) else None
            if wait_s is None:
                raise _late(job, timeout_s, hindrance)
            patience.hear(job, hindrance)
            await asyncio.sleep(wait_s)
        raise AssertionError("the last wait is None")

    async def cancel(self) -> Cancellation:
        """Cancel the job, or ask its worker to stop it. Raises AlreadyFinal if it has ended."""
        return await self._app.cancel(self.job_id)

    def job_sync(self) -> Job:
        return self._app.get_job_sync(self.job_id)

    def status_sync(self) -> State:
        return self.job_sync().state

    def result_sync(self, *, timeout_s: float | None = None) -> R_co:
        patience = _Patience(self._app.remarks)
        for wait_s in _waits_s(timeout_s):
            job = self.job_sync()
            if job.state.is_terminal:
                return self._result_of(job)
            hindrance = self._app.find_hindrance_sync(job) if patience.asks(job, is_last=wait_s is None) else None
            if wait_s is None:
                raise _late(job, timeout_s, hindrance)
            patience.hear(job, hindrance)
            time.sleep(wait_s)
        raise AssertionError("the last wait is None")

    def cancel_sync(self) -> Cancellation:
        return self._app.cancel_sync(self.job_id)

    def _result_of(self, job: Job) -> R_co:
        if job.state is State.FAILED:
            raise JobFailed(job)
        if job.state is State.CANCELLED:
            raise JobCancelled(job)
        try:
            result: R_co = msgspec.convert(job.result, self._result_type, str_keys=True, dec_hook=models.read)
        except msgspec.ValidationError as error:
            raise TaskFlowError(f"the result of job {job.id} is not of the type declared: {error}") from error
        return result


class Remarks:
    """When it was last said that jobs of a kind and queue wait in vain."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._made_s: dict[tuple[str, str], float] = {}

    def is_due(self, job: Job) -> bool:
        now_s = self._monotonic()
        made_s = self._made_s.get((job.kind, job.queue))
        if made_s is not None and now_s - made_s < REMARK_EVERY_S:
            return False
        if len(self._made_s) >= MAX_REMARKS:
            self._made_s.clear()
        self._made_s[job.kind, job.queue] = now_s
        return True


class _Patience:
    """Notices that a job which is waited for stays pending, and says why, once."""

    def __init__(self, remarks: Remarks) -> None:
        self._remarks = remarks
        self._pending_since_s: float | None = None
        self._has_asked = False

    def asks(self, job: Job, *, is_last: bool) -> bool:
        """Whether it is time to ask why *job* is where it is."""
        if job.state is not State.PENDING:
            self._pending_since_s = None
            return False
        now_s = time.monotonic()
        if self._pending_since_s is None:
            self._pending_since_s = now_s
        if is_last:
            return True
        if self._has_asked or now_s - self._pending_since_s < UNCLAIMED_S:
            return False
        self._has_asked = True
        return self._remarks.is_due(job)

    def hear(self, job: Job, hindrance: Hindrance | None) -> None:
        if hindrance is not None:
            _log.warning(
                "taskflow.result.waiting",
                job_id=str(job.id),
                kind=job.kind,
                queue=job.queue,
                reason=hindrance.describe(job),
            )


def _late(job: Job, timeout_s: float | None, hindrance: Hindrance | None) -> TimeoutError:
    why = ""
    if hindrance is Hindrance.NO_WORKER:
        why = f": {hindrance.describe(job)}; `taskflow worker --app …` starts one"
    elif hindrance is not None:
        why = f": {hindrance.describe(job)}"
    return TimeoutError(f"job {job.id} ({job.kind}) is {job.state} after {timeout_s:g} s{why}")


def _waits_s(timeout_s: float | None) -> Iterator[float | None]:
    """Yield how long to wait after each look; None after the last one."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    wait_s = FIRST_LOOK_S
    while True:
        if deadline is None:
            yield wait_s
        else:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                yield None
                return
            yield min(wait_s, left_s)
        wait_s = min(LAST_LOOK_S, wait_s * 1.5)
