"""What most tests of the store need, in few words: a store, a connection and a worker that is alive."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.support.clock import FakeClock

from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine.agenda import GRACE_S
from taskflow.engine.job import Claim, Enqueued, Job, JobError, JobId, LeaseId, NewJob, Outcome, OutcomeKind, WorkerId
from taskflow.engine.record import Ahead, JobBody
from taskflow.engine.scan import ScanBound
from taskflow.engine.store import Store

KIND, QUEUE = "mail", "default"
OOPS = JobError("ValueError", "the address is wrong")


@dataclass(slots=True)
class Worksite:
    """Every method runs on *connection* unless told otherwise."""

    store: Store
    connection: Connection
    clock: FakeClock
    worker_id: WorkerId = field(default_factory=lambda: WorkerId(uuid4()))

    async def start_worker(self, worker_id: WorkerId | None = None) -> WorkerId:
        worker_id = worker_id or WorkerId(uuid4())
        await self.store.register_worker(
            self.connection, worker_id=worker_id, host="here", pid=7, queues=[QUEUE], concurrency=10
        )
        return worker_id

    async def submit(self, **fields: Any) -> JobId:
        return (await self.enqueue(**fields)).id

    async def enqueue(self, **fields: Any) -> Enqueued:
        (answer,) = await self.store.enqueue(self.connection, [new_job(**fields)])
        return answer

    async def submit_many(self, count: int, **fields: Any) -> list[JobId]:
        answers = await self.store.enqueue(self.connection, [new_job(**fields)] * count)
        return [answer.id for answer in answers]

    async def claim(
        self,
        limit: int = 10,
        *,
        connection: Connection | None = None,
        worker_id: WorkerId | None = None,
        incarnation: int = 1,
        queues: Sequence[str] = (QUEUE,),
        kinds: Sequence[str] = (KIND,),
        lease_ids: Sequence[LeaseId] | None = None,
        bound: ScanBound | None = None,
    ) -> list[Claim]:
        return await self.store.claim(
            connection or self.connection,
            worker_id=worker_id or self.worker_id,
            incarnation=incarnation,
            queues=queues,
            kinds=kinds,
            limit=limit,
            lease_ids=lease_ids,
            bound=bound,
        )

    async def claim_one(self, **options: Any) -> Claim:
        (claim,) = await self.claim(1, **options)
        return claim

    async def ahead(self) -> Ahead:
        return await self.store.look_ahead(self.connection, grace_s=GRACE_S)

    async def job(self, job_id: JobId) -> Job:
        (job,) = await self.store.read_jobs(self.connection, [job_id])
        return job

    async def body(self, job_id: JobId) -> JobBody:
        body = await self.store.find_body(self.connection, job_id, None)
        assert body is not None
        return body

    async def fail(self, claim: Claim, **options: Any) -> list[Outcome]:
        """End an attempt with an error; what was refused comes back."""
        return await self.store.finish(self.connection, [failed(claim, **options)])

    async def cancel(self, job_id: JobId) -> bool:
        """Cancel a job that waits, or ask its holder to stop it."""
        if await self.store.cancel_waiting(self.connection, await self.body(job_id)):
            return True
        return await self.store.request_cancel(self.connection, job_id) is not None


def new_job(**fields: Any) -> NewJob:
    return NewJob(**({"kind": KIND, "payload": {}, "queue": QUEUE} | fields))


# A job whose every field is something that could be lost or mangled on its way.
NOTABLE = new_job(
    payload={"text": "añ ☃ 𝄞 \" \\ ' \t", "n": [1, 2.5, -0.25, None, True, {"": {}}], "big": 10**30},
    priority=9,
    retries=10,
    timeout_s=0.001,
    tags=("nightly", 'a "quote", a comma, a \\ and {braces}', "NULL", " ", "ü"),
    headers={"request_id": "r-1", "": "ü"},
    queue="images",
    kind="a/b.c:d-e_f",
)


def failed(claim: Claim, kind: OutcomeKind = OutcomeKind.ERROR, duration_s: float = 0.5, **options: Any) -> Outcome:
    return policy.failed(claim, kind, OOPS, duration_s, **options)


def succeeded(claim: Claim, result: Any = None, duration_s: float = 0.5) -> Outcome:
    return policy.succeeded(claim, result, duration_s)
