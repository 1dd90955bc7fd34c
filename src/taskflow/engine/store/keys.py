"""
Submits as callers see them: all or none, and of jobs with the same unique key only one.

A key is a row of `unique_claim`, written in the transaction that stores its job. PostgreSQL decides between two at once
by that table's primary key: the second waits until the first transaction has ended, then finds the row, or takes the
key itself if it rolled back.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from taskflow.db.query import Connection
from taskflow.db.server import confirm_what_is_seen
from taskflow.engine.job import Enqueued, JobId, NewJob
from taskflow.engine.policy import scope_of
from taskflow.engine.record import JobBody
from taskflow.engine.store.base import QUERIES
from taskflow.engine.store.copying import Check
from taskflow.engine.store.jobs import JobStatements, check_all
from taskflow.engine.store.queues import QueueStatements
from taskflow.engine.store.reading import ReadStatements
from taskflow.kernel.errors import Conflict, FieldError, Unavailable

KEY_WAIT_S = 5.0
_LOCK_NOT_AVAILABLE = "55P03"
_KEY_TRIES = 10  # a key that is freed and taken again between two looks this often is not to be had


class KeyStatements(JobStatements, ReadStatements, QueueStatements):
    """See the module."""

    async def enqueue(
        self, connection: Connection, jobs: Sequence[NewJob], *, check: Check | None = None
    ) -> list[Enqueued]:
        """
        Store *jobs*, all or none, and answer in their order. Durable when the transaction commits.

        A job whose unique key is held is not stored: the answer is the job that holds it. With unique keys this is a
        transaction of several statements, a savepoint in that of the caller.

        Args:
            check: as for `store`.

        Raises:
            Conflict: a queue drains, or a unique key has been on its way in another transaction for `KEY_WAIT_S`;
                nothing was stored.
        """
        if all(job.unique_key is None for job in jobs):
            return await self._all_of(connection, jobs, await self.store(connection, jobs, atomic=True, check=check))
        check_all(jobs, check)
        try:
            async with connection.transaction():  # rolled back, it takes along what is said of waiting
                return await self._enqueue_unique(connection, jobs)
        except Exception as error:
            if getattr(error, "sqlstate", None) != _LOCK_NOT_AVAILABLE:  # of whichever driver
                raise
            detail = "another submit with the unique key has not committed yet; try again shortly"
            raise Conflict(detail, code="unique_key_busy", retry_after_s=1.0) from error

    async def is_key_held(self, connection: Connection, body: JobBody) -> bool:
        """Claim the unique key of a job that runs again, if it has one; say whether another job holds it."""
        await QUERIES["free_key_of_job"].execute(connection, job_id=body.id, now=self._now())
        return bool(await QUERIES["reclaim_key"].fetchval(connection, job_id=body.id))

    async def prune_keys(self, connection: Connection, *, limit: int) -> int:
        """Delete keys whose window is over; return how many."""
        return len(await QUERIES["prune_unique_keys"].fetch(connection, now=self._now(), limit=limit))

    async def _enqueue_unique(self, connection: Connection, jobs: Sequence[NewJob]) -> list[Enqueued]:
        before = await self.limit_lock_wait(connection, KEY_WAIT_S)
        ids, holders = await self._share_keys(connection, jobs)
        await self.reset_lock_wait(connection, before)
        if holders:
            await confirm_what_is_seen(connection)
        places = sorted(ids)
        chosen = [jobs[place] for place in places]
        stored: Sequence[Enqueued | None] = ()
        if chosen:
            stored = await self.store(connection, chosen, atomic=True, ids=[ids[place] for place in places])
        answers = dict(zip(places, await self._all_of(connection, chosen, stored), strict=True))
        given = {answer.id: answer for answer in answers.values()}
        for place, holder in holders.items():
            answers[place] = (
                msgspec.structs.replace(given[holder], duplicate=True) if isinstance(holder, UUID) else holder
            )
        return [answers[place] for place in range(len(jobs))]

    async def _share_keys(
        self, connection: Connection, jobs: Sequence[NewJob]
    ) -> tuple[dict[int, JobId], dict[int, JobId | Enqueued]]:
        """
        Claim keys for *jobs*: return the ids of those to be stored, and who holds the keys of the others.

        Both by place in *jobs*; a holder that is itself among those to be stored is named by its id.
        """
        ids: dict[int, JobId] = {}
        holders: dict[int, JobId | Enqueued] = {}
        given: dict[int, JobId] = {}  # by the first look, and kept: order of input is order of ids
        open_places = list(range(len(jobs)))
        for _ in range(_KEY_TRIES):
            looked = zip(open_places, await self._claim_keys(connection, jobs, open_places, given), strict=True)
            for place, (job_id, is_won) in looked:
                given[place] = job_id
                if is_won:
                    ids[place] = job_id
            lost = [place for place in open_places if place not in ids]
            if not lost:
                return ids, holders
            keys = {_key(jobs[place]): job_id for place, job_id in ids.items() if jobs[place].unique_key is not None}
            holders |= {place: keys[_key(jobs[place])] for place in lost if _key(jobs[place]) in keys}
            lost = [place for place in lost if place not in holders]
            holders |= await self._find_holders(connection, jobs, lost)
            open_places = [place for place in lost if place not in holders]
            if not open_places:
                return ids, holders
            await QUERIES["free_unique_keys"].execute(connection, now=self._now(), **_names(jobs, open_places))
        raise Unavailable("the unique key keeps changing hands; try again", retry_after_s=1.0)

    async def _all_of(
        self, connection: Connection, jobs: Sequence[NewJob], stored: Sequence[Enqueued | None]
    ) -> list[Enqueued]:
        """Return what was stored. Raises Conflict if that is nothing, naming a queue that drains."""
        answers = [answer for answer in stored if answer is not None]
        if len(answers) == len(stored):
            return answers
        closed = await self.find_draining(connection, list({job.queue for job in jobs}))
        place = next((place for place, job in enumerate(jobs) if job.queue in closed), 0)
        raise draining(jobs[place].queue, pointer="/queue" if len(jobs) == 1 else f"/{place}/queue")

    async def _claim_keys(
        self, connection: Connection, jobs: Sequence[NewJob], places: Sequence[int], given: Mapping[int, JobId]
    ) -> list[tuple[JobId, bool]]:
        """Return the id of each, that of *given* if there is one, and whether its key is won."""
        rows = await QUERIES["claim_unique_keys"].fetch(
            connection,
            now=self._now(),
            **_names(jobs, places),
            scopes=[scope_of(jobs[place]) for place in places],
            windows=[jobs[place].unique_window for place in places],
            ids=[given.get(place) for place in places],
        )
        return [(row["id"], row["is_won"]) for row in rows]

    async def _find_holders(
        self, connection: Connection, jobs: Sequence[NewJob], places: Sequence[int]
    ) -> dict[int, Enqueued]:
        """Return the jobs that hold keys, by place. One that was deleted just then is left out, and its key free."""
        rows = await QUERIES["find_unique_holders"].fetch(connection, now=self._now(), **_names(jobs, places))
        found = {job.id: job for job in await self.read_jobs(connection, list({row["job_id"] for row in rows}))}
        return {
            places[row["place"]]: Enqueued(
                job.id, job.state, job.created_at, job.run_at or job.created_at, duplicate=True
            )
            for row in rows
            if (job := found.get(row["job_id"])) is not None
        }


def _key(job: NewJob) -> tuple[object, ...]:
    return job.namespace, job.kind, job.unique_key


def _names(jobs: Sequence[NewJob], places: Iterable[int]) -> dict[str, list[object]]:
    chosen = [jobs[place] for place in places]
    return {
        "namespaces": [job.namespace for job in chosen],
        "kinds": [job.kind for job in chosen],
        "keys": [job.unique_key for job in chosen],
    }


def draining(queue: str, *, pointer: str = "/queue") -> Conflict:
    """The refusal of a job for a queue that drains."""
    detail = f"queue {queue!r} drains: it takes no new jobs until it is resumed"
    return Conflict(
        detail, code="queue_draining", errors=[FieldError(pointer, "queue_draining", detail)], facts={"queue": queue}
    )
