"""
Operations on all jobs that a filter finds: cancel, retry, delete.

An operation is a row; an internal job takes it step by step (`handlers.bulk`). A step visits some hundred jobs (to
cancel them, a thousand), from the newest down, and writes how far it came in the transaction that does it: whoever dies
in the middle of one leaves nothing of it, and two that take the same step meet in the operation's row, where the second
finds it taken. Jobs made after the operation are not its business.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.client import Engine
from taskflow.engine.job import (
    DELIVERY_QUEUE,
    MAX_RETRIES,
    SYSTEM_NAMESPACE,
    Job,
    JobFilter,
    JobId,
    NewJob,
    State,
)
from taskflow.engine.record import BulkAction, Operation, OperationId
from taskflow.engine.store import Store
from taskflow.kernel.errors import Conflict, FieldError, Invalid, NotFound

KIND = "bulk_operation"
STEP_JOBS = 200
CANCEL_JOBS = 1000  # of a step that cancels: it needs their ids alone, and a few statements for all
DRY_RUN_JOBS = 10_000  # how far a dry run counts
STEP_TRIES = 10  # a job that a step has not caught after so many counts as failed
TIMEOUT_S = 600.0  # of one attempt of the job, which takes many steps
WAITING = (State.PENDING, State.SCHEDULED, State.RETRYING)

# Which states an action can be asked for; where there is one, it is what the action means.
STATES = {
    BulkAction.CANCEL: (*WAITING, State.ACTIVE),
    BulkAction.RETRY: (State.FAILED,),
    BulkAction.DELETE: (State.COMPLETED, State.FAILED, State.CANCELLED),
}


class Bulk:
    """See the module."""

    def __init__(self, database: Database, engine: Engine) -> None:
        self._database = database
        self._engine = engine
        self._store = Store()

    async def start(
        self, namespace: UUID, action: BulkAction, chosen: JobFilter, *, queue: str, connection: Connection
    ) -> Operation:
        """
        Note down an operation and the job that carries it out. Wake *queue* after the commit.

        Raises:
            Invalid: *action* does nothing to jobs in the state that *chosen* names.
        """
        chosen = _narrowed(action, chosen)
        operation_id = OperationId(uuid4())
        job = NewJob(
            KIND,
            {"operation": str(operation_id)},
            namespace=SYSTEM_NAMESPACE,
            queue=queue,
            retries=MAX_RETRIES,
            timeout_s=TIMEOUT_S,
        )
        stored = await self._engine.enqueue(job, connection=connection)
        return await self._store.insert_operation(
            connection, operation_id, namespace=namespace, action=action, chosen=chosen, job_id=stored.id
        )

    async def count(self, namespace: UUID, action: BulkAction, chosen: JobFilter) -> tuple[int, bool]:
        """
        Count the jobs that an operation would find now, up to `DRY_RUN_JOBS`, and say whether there may be more.

        Nothing is changed. Raises Invalid as `start` does.
        """
        chosen = _narrowed(action, chosen)
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            ids, below = await self._store.list_ids(connection, namespace, chosen, limit=DRY_RUN_JOBS, before=None)
            live = await self._store.find_live_jobs(connection, ids)
        return (len(live) if action is BulkAction.CANCEL else len(ids) - len(live)), below is not None

    async def find(self, operation_id: OperationId, *, namespace: UUID | None = None) -> Operation:
        """Return an operation as it stands. Raises NotFound."""
        async with self._database.acquire() as connection:
            found = await self._store.find_operation(connection, operation_id, namespace=namespace)
        if found is None:
            raise NotFound(f"there is no operation {str(operation_id)!r}")
        return found

    async def is_abandoned(self, operation: Operation) -> bool:
        """Say whether nobody will take *operation* further: its job has ended, and it has not."""
        async with self._database.acquire() as connection:
            jobs = await self._store.read_jobs(connection, [operation.job_id])
        return operation.state != "completed" and all(job.state.is_terminal for job in jobs)

    async def step(self, operation_id: OperationId) -> bool:
        """Visit the next jobs of an operation; say whether it is over."""
        operation = await self.find(operation_id)
        if operation.state == "completed":
            return True
        born_at = operation.created_at + timedelta(milliseconds=1)
        chosen = operation.chosen
        chosen = replace(chosen, created_to=min(chosen.created_to, born_at) if chosen.created_to else born_at)
        try:
            if operation.action is BulkAction.CANCEL:
                return await self._cancel(operation, chosen)
            return await self._visit(operation, chosen)
        except _StepTaken:
            return False

    async def _visit(self, operation: Operation, chosen: JobFilter) -> bool:
        """Retry or delete the next jobs."""
        page = await self._engine.list_jobs(operation.namespace, chosen, limit=STEP_JOBS, before=operation.below)
        jobs = [job for job in page.items if job.state in STATES[operation.action]]
        async with self._database.transaction() as connection:
            act = self._delete if operation.action is BulkAction.DELETE else self._replay
            done = await act(connection, operation, jobs) if jobs else 0
            await self._advance(connection, operation, page.next_before, done=done, failed=len(jobs) - done)
        if operation.action is BulkAction.RETRY:
            self._engine.wake({job.queue for job in jobs})
        return page.next_before is None

    async def _cancel(self, operation: Operation, chosen: JobFilter) -> bool:
        """Cancel the next jobs: at once those that wait, by asking their workers those that run."""
        live, active, below = await self._find_live(operation, chosen)
        asked: set[JobId] = set()
        for tries_left in reversed(range(STEP_TRIES)):
            asked |= await self._ask_to_stop(active)
            try:
                async with self._database.transaction() as connection:
                    waiting = sorted(live - asked)
                    cancelled, has_news = await self._store.cancel_many(connection, waiting)
                    rest = [job_id for job_id in waiting if job_id not in cancelled]
                    # Others have ended them, or claimed them since, or are moving them from one place to the other.
                    if tries_left and (missed := await self._store.find_live_jobs(connection, rest)):
                        raise _Missed(missed)  # noqa: TRY301 -- to undo the transaction
                    done = len(asked) + len(cancelled)
                    await self._advance(connection, operation, below, done=done, failed=len(live) - done)
            except _Missed as error:
                active = error.job_ids
            else:
                break
        if has_news:
            self._engine.wake([DELIVERY_QUEUE])
        return below is None

    async def _find_live(self, operation: Operation, chosen: JobFilter) -> tuple[set[JobId], set[JobId], JobId | None]:
        """Return the next jobs that have not ended, which of them workers hold, and below which id the next are."""
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            ids, below = await self._store.list_ids(
                connection, operation.namespace, chosen, limit=CANCEL_JOBS, before=operation.below
            )
            live = await self._store.find_live_jobs(connection, ids)
            return live, await self._store.find_active(connection, [*live]), below

    async def _advance(
        self, connection: Connection, operation: Operation, below: JobId | None, *, done: int, failed: int
    ) -> None:
        if not await self._store.advance_operation(connection, operation, below=below, done=done, failed=failed):
            raise _StepTaken  # and with it goes what this transaction did

    async def _ask_to_stop(self, job_ids: Iterable[JobId]) -> set[JobId]:
        """
        Ask the workers that run these jobs to stop them; return those that were asked.

        Each by itself, outside the step's transaction: that must not hold leases, which workers write to. Asked again
        after a crash they have been asked already, and count once.
        """
        asked = set()
        for job_id in job_ids:
            async with self._database.acquire() as connection:
                if await self._store.request_cancel(connection, job_id) is not None:
                    asked.add(job_id)
                    self._engine.announce_cancel(job_id)
        return asked

    async def _delete(self, connection: Connection, operation: Operation, jobs: Sequence[Job]) -> int:
        deleted = await self._store.delete_ended(
            connection,
            operation.namespace,
            [job.id for job in jobs],
            created_from=min(job.created_at for job in jobs),
        )
        return len(deleted)

    async def _replay(self, connection: Connection, _: Operation, jobs: Sequence[Job]) -> int:
        done = 0
        for job in jobs:
            try:
                await self._engine.replay(job.id, connection=connection)
            except (Conflict, NotFound):
                continue
            done += 1
        return done


class _StepTaken(Exception):
    """Somebody else has taken the step."""


class _Missed(Exception):
    """Some jobs of the step were not where they were looked for: workers may hold them, who have to be asked."""

    def __init__(self, job_ids: set[JobId]) -> None:
        super().__init__()
        self.job_ids = job_ids


def _narrowed(action: BulkAction, chosen: JobFilter) -> JobFilter:
    """Return *chosen* with the state that *action* means, if it is one. Raises Invalid for one that it cannot mean."""
    states = STATES[action]
    if chosen.state is not None and chosen.state not in states:
        detail = f"must be {', '.join(states)} to {action}, or left out"
        raise Invalid("the filter is not valid", errors=[FieldError("/status", "unknown_value", detail)])
    return replace(chosen, state=states[0]) if len(states) == 1 else chosen
