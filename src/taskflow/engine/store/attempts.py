"""Statements about attempts: claim, end, take back. Each names the claim it is about."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec

from taskflow.db.query import Connection, Query
from taskflow.engine.job import (
    MAX_CRASHES,
    Claim,
    JobId,
    LeaseId,
    NewLogLine,
    NewProgress,
    Outcome,
    OutcomeKind,
    WorkerId,
)
from taskflow.engine.record import OwnLease
from taskflow.engine.scan import FROM_THE_FRONT, ScanBound
from taskflow.engine.store.base import LEASE_S, QUERIES, StoreBase
from taskflow.telemetry.log import get_logger

_decode_json = msgspec.json.decode
_encode = msgspec.json.encode
_log = get_logger(__name__)


class AttemptStatements(StoreBase):
    """See the module."""

    async def claim(
        self,
        connection: Connection,
        *,
        worker_id: WorkerId,
        incarnation: int,
        queues: Sequence[str],
        kinds: Sequence[str],
        limit: int,
        lease_ids: Sequence[LeaseId] | None = None,
        namespace: UUID | None = None,
        suspects: bool = True,
        bound: ScanBound | None = None,
    ) -> list[Claim]:
        """
        Take up to *limit* ready jobs under one new lease, and one more for each queue with a limit.

        The caller makes up *lease_ids* (`new_lease_ids`), so that it can ask about a claim whose answer it never saw.
        Without *suspects*, those are left to others. With a *bound*, it begins where that says.
        """
        lease_ids = lease_ids or new_lease_ids(queues)
        scan = bound.begin(queues) if bound else FROM_THE_FRONT
        claiming: dict[str, Any] = {
            "worker_id": worker_id,
            "incarnation": incarnation,
            "queues": queues,
            "kinds": kinds,
            "limit": limit,
            "lease_ids": lease_ids,
            "namespace": namespace,
            "suspects": suspects,
            "after_run_at": scan.after_run_at,
            "after_job_id": scan.after_job_id,
        }
        rows = await QUERIES["claim"].fetch(connection, now=self._now(), **claiming)
        while lost := [str(row["job_id"]) for row in rows if row["payload"] is None]:
            # Somebody dropped a partition by hand. Given back, they are gone, and the others of their lease are ready.
            _log.error("taskflow.claim.no_body", jobs=len(lost), job_ids=lost[:10])
            await self.return_leases(connection, lease_ids, OutcomeKind.HANDED_BACK)
            rows = await QUERIES["claim"].fetch(connection, now=self._now(), **claiming)
        if bound:
            one_lane = rows and len(queues) == 1 and rows[0]["priority"] == rows[-1]["priority"]
            ends = rows[-1:] if one_lane else rows
            bound.end({(row["queue"], row["priority"]): (row["run_at"], row["job_id"]) for row in ends})
        # Lanes come last; hardly ever is there one.
        sizes = Counter(row["lane"] for row in rows) if rows and rows[-1]["lane"] is not None else {None: len(rows)}
        return [
            Claim(
                lease_id=lease_ids[lane or 0],
                lease_size=sizes[lane],
                position=position,
                job_id=job_id,
                attempt=attempt,
                failures=failures,
                namespace=namespace,
                kind=kind,
                queue=queue,
                priority=priority,
                payload=payload,
                retries=retries,
                timeout_s=timeout_ms / 1000,
                headers=_decode_json(headers) if headers else {},
                queue_wait_s=max(queue_wait_s, 0.0),
                crashes=crashes,
                suspect=suspect,
                settles=settles,
                limited=lane is not None,
            )
            for (
                position, job_id, attempt, failures, crashes, suspect, namespace, kind, queue, priority,
                payload, retries, timeout_ms, headers, settles, queue_wait_s, _, lane,
            ) in rows
        ]  # fmt: skip

    async def complete(self, connection: Connection, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Write down attempts that succeeded; return those that were refused because their claim was taken back."""
        return await self._end(connection, outcomes, self._complete)

    async def _complete(self, connection: Connection, outcomes: Sequence[Outcome]) -> list[Outcome]:
        claims = [outcome.claim for outcome in outcomes]
        lease_ids, masks = _masks(claims)
        rows = await QUERIES["complete"].fetch(
            connection,
            now=self._now(),
            lease_ids=lease_ids,
            masks=masks,
            row_leases=[claim.lease_id for claim in claims],
            positions=[claim.position for claim in claims],
            job_ids=[claim.job_id for claim in claims],
            namespaces=[claim.namespace for claim in claims],
            queues=[claim.queue for claim in claims],
            kinds=[claim.kind for claim in claims],
            attempts=[claim.attempt for claim in claims],
            failures=[outcome.failures for outcome in outcomes],
            results=[outcome.result for outcome in outcomes],
            ages_s=self._ages_s(outcomes),
            waits_s=[claim.queue_wait_s for claim in claims],
            runs_s=[outcome.duration_s for outcome in outcomes],
        )
        return _pick(outcomes, rows)

    def complete_elsewhere(self, outcome: Outcome) -> tuple[Query, dict[str, object]]:
        """
        Return the statement that ends one attempt as completed on somebody else's connection, and its parameters.

        It answers with one boolean: false if the claim was taken back, and then the caller must roll back.
        """
        claim = outcome.claim
        return QUERIES["complete_one"], {
            "lease_id": claim.lease_id,
            "position": claim.position,
            "result": outcome.result,
            "wait_s": claim.queue_wait_s,
            "run_s": outcome.duration_s,
        }

    async def finish(self, connection: Connection, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Write down attempts that came to anything but success; return those that were refused."""
        return await self._end(connection, outcomes, self._finish)

    async def _finish(self, connection: Connection, outcomes: Sequence[Outcome]) -> list[Outcome]:
        claims = [outcome.claim for outcome in outcomes]
        lease_ids, masks = _masks(claims)
        rows = await QUERIES["finish"].fetch(
            connection,
            now=self._now(),
            lease_ids=lease_ids,
            masks=masks,
            row_leases=[claim.lease_id for claim in claims],
            positions=[claim.position for claim in claims],
            job_ids=[claim.job_id for claim in claims],
            namespaces=[claim.namespace for claim in claims],
            queues=[claim.queue for claim in claims],
            kinds=[claim.kind for claim in claims],
            priorities=[claim.priority for claim in claims],
            attempts=[claim.attempt for claim in claims],
            failures=[outcome.failures for outcome in outcomes],
            outcomes=[outcome.kind for outcome in outcomes],
            states=[outcome.state for outcome in outcomes],
            waits_s=[outcome.wait_s for outcome in outcomes],
            errors=[None if outcome.error is None else _encode(outcome.error).decode() for outcome in outcomes],
            reasons=[outcome.failure_reason for outcome in outcomes],
            begun=[outcome.duration_s is not None for outcome in outcomes],
            ages_s=self._ages_s(outcomes),
            crashes=[outcome.crashes for outcome in outcomes],
            suspects=[outcome.suspect for outcome in outcomes],
            queue_waits_s=[claim.queue_wait_s for claim in claims],
            runs_s=[outcome.duration_s for outcome in outcomes],
        )
        return _pick(outcomes, rows)

    async def _end(
        self,
        connection: Connection,
        outcomes: Sequence[Outcome],
        write: Callable[[Connection, Sequence[Outcome]], Awaitable[list[Outcome]]],
    ) -> list[Outcome]:
        """Write *outcomes*: one statement, or a transaction of two if any of them may have consequences."""
        if not outcomes:
            return []
        settling = [outcome for outcome in outcomes if outcome.claim.settles]
        if not settling:
            return await write(connection, outcomes)
        async with connection.transaction():
            refused = await write(connection, outcomes)
            lost = {(outcome.claim.lease_id, outcome.claim.position) for outcome in refused}
            ended = [
                outcome.claim.job_id
                for outcome in settling
                if (outcome.claim.lease_id, outcome.claim.position) not in lost
            ]
            if ended:  # or going to run again: settling those changes nothing
                await self.settle(connection, ended)
        return refused

    def _ages_s(self, outcomes: Sequence[Outcome]) -> list[float]:
        """How long ago attempts ended; for a clock that tests move, now."""
        if self._now() is not None:
            return [0.0] * len(outcomes)
        now_s = time.monotonic()
        return [max(0.0, now_s - outcome.ended_s) for outcome in outcomes]

    async def find_unsettled(self, connection: Connection, refused: Sequence[Outcome]) -> list[Outcome]:
        """
        Of *refused* outcomes, return those that were really lost.

        For a flush sent twice: the first try may have committed although its answer never came.
        """
        if not refused:
            return []
        claims = [outcome.claim for outcome in refused]
        rows = await QUERIES["find_settled"].fetch(
            connection,
            lease_ids=[claim.lease_id for claim in claims],
            positions=[claim.position for claim in claims],
            job_ids=[claim.job_id for claim in claims],
            namespaces=[claim.namespace for claim in claims],
            attempts=[claim.attempt for claim in claims],
            outcomes=[outcome.kind for outcome in refused],
        )
        settled = {(row["lease_id"], row["position"]) for row in rows}
        return [outcome for outcome in refused if (outcome.claim.lease_id, outcome.claim.position) not in settled]

    async def write_logs(self, connection: Connection, lines: Sequence[NewLogLine], *, written_at_s: float) -> int:
        """
        Append lines in order and return how many; those of an attempt that neither runs nor has completed are dropped.

        Args:
            written_at_s: the present value of the monotonic clock that the lines were stamped with.
        """
        if not lines:
            return 0
        status = await QUERIES["write_logs"].execute(
            connection,
            now=self._now(),
            lease_ids=[line.claim.lease_id for line in lines],
            positions=[line.claim.position for line in lines],
            job_ids=[line.claim.job_id for line in lines],
            namespaces=[line.claim.namespace for line in lines],
            attempts=[line.claim.attempt for line in lines],
            levels=[line.level for line in lines],
            messages=[line.message for line in lines],
            ages_s=[written_at_s - line.written_s for line in lines],
        )
        return int(status.rpartition(" ")[2])  # INSERT 0 n

    async def write_progress(
        self, connection: Connection, reports: Sequence[NewProgress], *, written_at_s: float
    ) -> int:
        """
        Keep the last report of each attempt, at most one each, and return how many were kept.

        Those of an attempt that neither runs nor has completed are dropped.
        """
        if not reports:
            return 0
        status = await QUERIES["write_progress"].execute(
            connection,
            now=self._now(),
            lease_ids=[report.claim.lease_id for report in reports],
            positions=[report.claim.position for report in reports],
            job_ids=[report.claim.job_id for report in reports],
            namespaces=[report.claim.namespace for report in reports],
            attempts=[report.claim.attempt for report in reports],
            fractions=[report.fraction for report in reports],
            messages=[report.message for report in reports],
            ages_s=[written_at_s - report.written_s for report in reports],
        )
        return int(status.rpartition(" ")[2])  # INSERT 0 n

    # Taking back ----------------------------------------------------------------------------------------------------

    async def return_leases(
        self,
        connection: Connection,
        lease_ids: Sequence[LeaseId],
        outcome: OutcomeKind,
        *,
        suspects: Sequence[JobId] | None = (),
        charged: Sequence[JobId] = (),
    ) -> dict[str, int]:
        """
        Make every open job of these leases ready again; return how many per queue.

        Args:
            suspects: those that were running when their process died, and run alone next; None for all, when nobody
                knows which were.
            charged: of these, those that are charged a crash; the last of `MAX_CRASHES` fails its job.
        """
        if not lease_ids:
            return {}
        async with connection.transaction():
            rows = await QUERIES["return_leases"].fetch(
                connection,
                now=self._now(),
                lease_ids=lease_ids,
                outcome=outcome,
                suspects=suspects,
                charged=charged,
                max_crashes=MAX_CRASHES,
            )
            if ended := [job_id for row in rows for job_id in row["ended"] or ()]:
                await self.settle(connection, ended)
        return {row["queue"]: row["jobs"] for row in rows}

    async def list_own_leases(self, connection: Connection, *, worker_id: WorkerId, incarnation: int) -> list[OwnLease]:
        rows = await QUERIES["list_own_leases"].fetch(connection, worker_id=worker_id, incarnation=incarnation)
        return [
            OwnLease(
                row["id"],
                row["job_ids"],
                [row["job_ids"][int(position)] for position in _decode_json(row["cancels"] or "{}")],
            )
            for row in rows
        ]

    async def find_child_leases(
        self, connection: Connection, *, worker_id: WorkerId, incarnation: int | None = None
    ) -> list[LeaseId]:
        rows = await QUERIES["find_child_leases"].fetch(connection, worker_id=worker_id, incarnation=incarnation)
        return [row["id"] for row in rows]

    async def find_orphan_leases(self, connection: Connection, *, limit: int) -> list[LeaseId]:
        return [row["id"] for row in await QUERIES["find_orphan_leases"].fetch(connection, limit=limit)]

    async def bury_workers(self, connection: Connection) -> list[WorkerId]:
        """Forget workers silent for `LEASE_S`; their leases become orphans."""
        return [row["id"] for row in await QUERIES["bury_workers"].fetch(connection, now=self._now(), lease_s=LEASE_S)]


def new_lease_ids(queues: Sequence[str]) -> list[LeaseId]:
    """Random ids for the leases of one claim: never a sequence, whose values may come twice after a crash."""
    return [LeaseId(uuid4()) for _ in range(len(queues) + 1)]


def _masks(claims: Iterable[Claim]) -> tuple[list[LeaseId], list[asyncpg.BitString]]:
    """
    Return the leases touched, and per lease the bits to clear.

    A mask must be as long as the lease's `open`, one bit per claimed job: the claim knows its size.
    """
    masks: dict[LeaseId, bytearray] = {}
    sizes: dict[LeaseId, int] = {}
    for claim in claims:
        mask = masks.get(claim.lease_id)
        if mask is None:
            sizes[claim.lease_id] = claim.lease_size
            mask = masks[claim.lease_id] = bytearray((claim.lease_size + 7) // 8)
        mask[claim.position >> 3] |= 0x80 >> (claim.position & 7)
    return list(masks), [
        asyncpg.BitString.frombytes(bytes(mask), bitlength=sizes[lease_id]) for lease_id, mask in masks.items()
    ]


def _pick(outcomes: Sequence[Outcome], rows: Sequence[asyncpg.Record]) -> list[Outcome]:
    if not rows:
        return []
    refused = {(row["lease_id"], row["position"]) for row in rows}
    return [outcome for outcome in outcomes if (outcome.claim.lease_id, outcome.claim.position) in refused]
