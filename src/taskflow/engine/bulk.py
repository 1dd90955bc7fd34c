"""
Operations on all jobs that a filter finds: cancel, retry, delete.

An operation is a row; an internal job takes it step by step (`handlers.bulk`). A step visits some hundred jobs, from
the newest down, and writes how far it came in the transaction that does it: whoever dies in the middle of one leaves
nothing of it, and two that take the same step meet in the operation's row, where the second finds it taken. Jobs made
after the operation are not its business.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.client import Engine
from taskflow.engine.job import MAX_RETRIES, SYSTEM_NAMESPACE, Job, JobFilter, JobId, NewJob, State
from taskflow.engine.record import BulkAction, Operation, OperationId
from taskflow.engine.store import Store
from taskflow.kernel.errors import Conflict, FieldError, Invalid, NotFound

KIND = "bulk_operation"
STEP_JOBS = 200
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
        states = STATES[action]
        if chosen.state is not None and chosen.state not in states:
            detail = f"must be {', '.join(states)} to {action}, or left out"
            raise Invalid("the filter is not valid", errors=[FieldError("/status", "unknown_value", detail)])
        if len(states) == 1:
            chosen = replace(chosen, state=states[0])
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
        page = await self._engine.list_jobs(operation.namespace, chosen, limit=STEP_JOBS, before=operation.below)
        jobs = [job for job in page.items if job.state in STATES[operation.action]]
        asked: set[JobId] = set()
        running = {job.id for job in jobs if job.state is State.ACTIVE}
        for tries_left in reversed(range(STEP_TRIES)):
            if operation.action is BulkAction.CANCEL:
                asked |= await self._ask_to_stop(running)
            rest = [job for job in jobs if job.id not in asked]
            try:
                async with self._database.transaction() as connection:
                    done = len(asked) + await self._act(connection, operation, rest, last=not tries_left)
                    await self._advance(connection, operation, page.next_before, done=done, failed=len(jobs) - done)
            except _StepTaken:
                return False
            except _Claimed as error:
                running = error.job_ids
            else:
                break
        if operation.action is BulkAction.RETRY:
            self._engine.wake({job.queue for job in jobs})
        return page.next_before is None

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

    async def _act(self, connection: Connection, operation: Operation, jobs: Sequence[Job], *, last: bool) -> int:
        """
        Do what *operation* does to *jobs* and return to how many it was done: others have changed meanwhile.

        Raises _Claimed if workers hold some that were to be cancelled, unless this is the *last* try.
        """
        if not jobs:
            return 0
        match operation.action:
            case BulkAction.DELETE:
                created_from = min(job.created_at for job in jobs)
                job_ids = [job.id for job in jobs]
                deleted = await self._store.delete_ended(
                    connection, operation.namespace, job_ids, created_from=created_from
                )
                return len(deleted)
            case BulkAction.CANCEL:
                done, claimed = await self._cancel_waiting(connection, jobs)
                if claimed and not last:
                    raise _Claimed(claimed)
                return done
            case BulkAction.RETRY:
                return await self._replay(connection, jobs)

    async def _cancel_waiting(self, connection: Connection, jobs: Sequence[Job]) -> tuple[int, set[JobId]]:
        """Cancel those that nobody holds; return how many, and those that somebody holds by now."""
        done, claimed = 0, set()
        for job in jobs:
            body = await self._store.find_body(connection, job.id, job.namespace)
            if body is None:
                continue
            if await self._store.cancel_waiting(connection, body):
                done += 1
            elif await self._store.find_end(connection, body) is None:
                claimed.add(job.id)
        return done, claimed

    async def _replay(self, connection: Connection, jobs: Sequence[Job]) -> int:
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


class _Claimed(Exception):
    """Workers hold some jobs of the step: they have to be asked."""

    def __init__(self, job_ids: set[JobId]) -> None:
        super().__init__()
        self.job_ids = job_ids
