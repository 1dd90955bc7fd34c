"""
A bounded pool of worker processes.

    submit ──▶ [ queue, at most `queue_limit` ] ──▶ slot 1 ──▶ process
       │                                      └───▶ slot 2 ──▶ process
       └─ full: refused, 503

- *Bounded*: a queue without a limit does not refuse, it only answers later and later until memory ends. A full queue
  says so at once, and the caller can come back.
- *A timeout that stops*: the process is killed and a new one started. Asking a busy loop to stop would not help.
- *A crash costs one job*: its record says failed, the slot gets a new process, the others never notice.
- *No process to be had*: the slot tries again after a pause, which grows, and the queue waits.
- *Records are pruned*: the newest `history_limit` of finished jobs are kept.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from taskflow_learn.errors import Code, JSONValue, Refusal
from taskflow_learn.log import Logger
from taskflow_learn.workers.job import Job, JobStatus
from taskflow_learn.workers.process import WorkerDied, WorkerProcess

RESPAWN_PAUSE_S = 0.2  # a worker that dies at birth must not become a loop that eats a core
SPAWN_PAUSE_LIMIT_S = 10.0
LOOK_AGAIN_S = 1.0


class WorkerPool:
    """Runs jobs in order of arrival on *size* processes."""

    def __init__(
        self, name: str, log: Logger, *, size: int, queue_limit: int, timeout_ms: int, history_limit: int
    ) -> None:
        self._name = name
        self._log = log
        self._size = size
        self._timeout_s = timeout_ms / 1000
        self._history_limit = history_limit
        self._queue: asyncio.Queue[Job] = asyncio.Queue(queue_limit)
        self._jobs: dict[str, Job] = {}
        self._finished: deque[Job] = deque()
        self._waiting: dict[str, asyncio.Event] = {}
        self._processes: dict[int, WorkerProcess] = {}
        self._counts = dict.fromkeys(JobStatus, 0)

    async def run(self) -> None:
        """Keep *size* workers alive until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for slot in range(self._size):
                    group.create_task(self._run_slot(slot), name=f"{self._name}-slot-{slot}")
        finally:
            for process in self._processes.values():
                await process.kill()
            self._processes.clear()

    def submit(self, kind: str, payload: Callable[[], JSONValue], shown: JSONValue) -> Job:
        """Queue a job. Raise `Refusal` 503 if the queue is full."""
        job = Job(kind, payload, shown)
        try:
            self._queue.put_nowait(job)
        except asyncio.QueueFull:
            limit = self._queue.maxsize
            raise Refusal(
                Code.SERVICE_UNAVAILABLE,
                f"the {self._name} queue holds {limit} jobs, its limit; try again later",
                {"field": "queue", "max": limit},
                headers=(("Retry-After", "1"),),
            ) from None
        self._jobs[job.id] = job
        self._counts[JobStatus.QUEUED] += 1
        return job

    async def wait(self, job: Job) -> Job:
        """Return *job* when it has ended."""
        if job.finished_at is None:
            await self._waiting.setdefault(job.id, asyncio.Event()).wait()
        return job

    def find(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def pids(self) -> list[int]:
        """Return the ids of the living processes, for tests and for the curious."""
        return [process.pid for process in self._processes.values() if process.is_alive]

    def stats(self) -> dict[str, JSONValue]:
        counts = self._counts
        return {
            "poolSize": self._size,
            "workerCount": len(self.pids()),
            "activeWorkers": counts[JobStatus.RUNNING],
            "queuedJobs": self._queue.qsize(),
            "maxQueueSize": self._queue.maxsize,
            "totalJobs": sum(counts.values()),
            "completedJobs": counts[JobStatus.COMPLETED],
            "failedJobs": counts[JobStatus.FAILED],
            "runningJobs": counts[JobStatus.RUNNING],
            "queuedJobCount": counts[JobStatus.QUEUED],
        }

    async def _run_slot(self, slot: int) -> None:
        job: Job | None = None
        while True:
            process = self._processes[slot] = await self._spawn()
            while process.is_alive:
                job = job or await self._next_job()
                if job is not None and process.is_alive:  # if it died while idle, the next process gets this job
                    await self._run_job(process, job)
                    job = None
            await process.kill()
            await asyncio.sleep(RESPAWN_PAUSE_S)

    async def _spawn(self) -> WorkerProcess:
        """Start a process. While the system has none to give, try again, less and less often; the jobs stay queued."""
        pause_s = RESPAWN_PAUSE_S
        while True:
            try:
                return await WorkerProcess.spawn()
            except OSError as error:  # no memory, too many files or processes: most of these pass
                self._log.error("Worker not started", pool=self._name, error=repr(error), retryInS=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, SPAWN_PAUSE_LIMIT_S)

    async def _next_job(self) -> Job | None:
        """Return the next job, or `None` after a while, so that the slot looks whether its process still lives."""
        try:
            async with asyncio.timeout(LOOK_AGAIN_S):
                return await self._queue.get()
        except TimeoutError:
            return None

    async def _run_job(self, process: WorkerProcess, job: Job) -> None:
        self._move(job, JobStatus.RUNNING)
        job.start()
        try:
            async with asyncio.timeout(self._timeout_s):
                outcome = await process.run(job)
        except TimeoutError:
            await process.kill()  # from now on `is_alive` is false, and the slot starts another
            self._finish(job, error=f"timed out after {self._timeout_s * 1000:g} ms; the worker was killed")
        except WorkerDied:
            await process.kill()
            self._finish(job, error="the worker died; a new one takes its place")
        else:
            self._finish(job, output=outcome.get("output"), error=outcome.get("error"))

    def _finish(self, job: Job, output: JSONValue = None, error: str | None = None) -> None:
        self._move(job, JobStatus.COMPLETED if error is None else JobStatus.FAILED)
        job.finish(output, error)
        if error is not None:
            self._log.error("Job failed", pool=self._name, jobId=job.id, error=error)
        if (event := self._waiting.pop(job.id, None)) is not None:
            event.set()
        self._finished.append(job)
        if len(self._finished) > self._history_limit:
            del self._jobs[self._finished.popleft().id]

    def _move(self, job: Job, status: JobStatus) -> None:
        self._counts[job.status] -= 1
        self._counts[status] += 1
