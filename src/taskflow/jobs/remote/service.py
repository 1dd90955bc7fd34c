"""
What workers over HTTP may do, whatever the transport: claim, live, end jobs, write logs, publish kinds.

A worker is its namespace's: it gets that namespace's jobs only, and its tokens are good there only. What an attempt
comes to is decided by `engine.policy`, as for workers of our own; whether it is taken, by its lease.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from uuid import UUID

import msgspec

from taskflow import kinds
from taskflow.engine import policy
from taskflow.engine.job import (
    MAX_LOG_CHARS,
    MAX_PROGRESS_CHARS,
    Claim,
    JobError,
    LeaseId,
    NewLogLine,
    NewProgress,
    Outcome,
    OutcomeKind,
    State,
    WorkerId,
)
from taskflow.engine.record import RemoteWorker
from taskflow.engine.registry import schema_hash
from taskflow.engine.remote import HEARTBEAT_S, RemoteWorkers
from taskflow.engine.store import LEASE_S
from taskflow.engine.trace import portable_headers
from taskflow.http.places import Places
from taskflow.identity.access import Principal
from taskflow.jobs.catalogue import Catalogue
from taskflow.jobs.remote.bell import Bell
from taskflow.jobs.remote.publishing import check_kinds
from taskflow.jobs.remote.schemas import (
    AttemptRef,
    ClaimedJob,
    ClaimedJobs,
    ClaimJobs,
    CompleteJobs,
    FailedItem,
    FailJobs,
    HandBackJobs,
    Heartbeat,
    HeartbeatAnswer,
    ItemStatus,
    ItemsView,
    ItemView,
    LinesView,
    PublishedKinds,
    PublishKinds,
    ReportProgress,
    ReportsView,
    SignedOff,
    WriteLines,
    view_of_kinds,
)
from taskflow.jobs.remote.token import Ticket, Tokens
from taskflow.jobs.remote.visit import Visit
from taskflow.kernel.errors import Conflict, FieldError, Invalid
from taskflow.kernel.json import storable
from taskflow.telemetry.log import get_logger

POLL_FIRST_S, POLL_CAP_S = 0.05, 1.0
CLAIMS_AT_ONCE = 4  # statements: those who wait must not take the pool from everybody else
MAX_WAITING = 1000  # claims that wait in one process
HEARTBEAT_MS = round(HEARTBEAT_S * 1000)

# What an attempt's end may make of its job.
_STATUSES: Mapping[State, ItemStatus] = {
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.RETRYING: "retrying",
    State.PENDING: "pending",
    State.CANCELLED: "cancelled",
}

_log = get_logger(__name__)
_RNG = random.Random()  # noqa: S311 -- spreads polls, guards nothing


class RemoteWork:
    """See the module. *bell* must be rung by the process' listener."""

    def __init__(self, workers: RemoteWorkers, catalogue: Catalogue, tokens: Tokens, bell: Bell) -> None:
        self._workers = workers
        self._catalogue = catalogue
        self._tokens = tokens
        self._bell = bell
        self._turns = asyncio.Semaphore(CLAIMS_AT_ONCE)
        self._places = Places("claims are waiting here", code="too_many_waiting", retry_after_s=1.0)

    # Claiming --------------------------------------------------------------------------------------------------------

    async def claim(
        self, principal: Principal, asked: ClaimJobs, visit: Visit, *, check_again: Callable[[], Awaitable[None]]
    ) -> ClaimedJobs:
        """
        Give jobs to a worker; if there are none, wait for the first as long as it wants and *visit* lasts.

        Args:
            check_again: raises if the key is no longer good; asked after each wait, before jobs are given away.

        Raises:
            Invalid: a kind that nobody has published.
            NotFound: the worker was declared dead, before or while it waited; it claims anew without an id.
            Unavailable: too many wait in this process already.
        """
        worker = await self._described(principal, asked)
        if not asked.waitMs:
            return await self._claim(principal, asked, worker, visit, check_again)
        self._places.check(principal.namespace, MAX_WAITING)
        with self._places.hold(principal.namespace):
            return await self._claim(principal, asked, worker, visit, check_again)

    async def _claim(
        self,
        principal: Principal,
        asked: ClaimJobs,
        worker: RemoteWorker,
        visit: Visit,
        check_again: Callable[[], Awaitable[None]],
    ) -> ClaimedJobs:
        worker_id = await self._workers.enter(None if asked.workerId is None else WorkerId(asked.workerId), worker)
        try:
            claims = await self._wait(worker_id, worker, (asked.waitMs or 0) / 1000, visit, check_again)
        except BaseException:
            if asked.workerId is None:  # as below; what went wrong is what is told
                with suppress(Exception):
                    await self._workers.leave(worker_id, principal.namespace)
            raise
        if visit.client_left:
            if claims:
                await self._workers.hand_back(claims)
            if asked.workerId is None:  # nobody will ever know its id
                await self._workers.leave(worker_id, principal.namespace)
            claims = []
        return ClaimedJobs(
            worker_id=worker_id,
            heartbeat_every_ms=HEARTBEAT_MS,
            lease_ms=round((worker.lease_s or LEASE_S) * 1000),
            jobs=[self._claimed(claim) for claim in claims],
        )

    async def _described(self, principal: Principal, asked: ClaimJobs) -> RemoteWorker:
        names = list(dict.fromkeys(map(kinds.canonical, asked.taskTypes)))
        queues, errors = [], []
        for index, name in enumerate(names):
            kind = await self._catalogue.find(name, principal.namespace)
            if kind is None:
                detail = f"nobody has published the kind {name!r}; do it with POST /api/v1/worker/kinds"
                errors.append(FieldError(f"/taskTypes/{index}", "unknown_kind", detail))
            else:
                queues.append(kind.info.queue)
        if errors:
            raise Invalid(errors[0].detail, code="unknown_kind", errors=errors)
        return RemoteWorker(
            namespace=principal.namespace,
            queues=list(dict.fromkeys(queues if asked.queues is None else asked.queues)),
            kinds=names,
            capacity=asked.capacity or 1,
            name=asked.name,
            lease_s=None if asked.leaseMs is None else asked.leaseMs / 1000,
        )

    async def _wait(
        self,
        worker_id: WorkerId,
        worker: RemoteWorker,
        wait_s: float,
        visit: Visit,
        check_again: Callable[[], Awaitable[None]],
    ) -> list[Claim]:
        deadline_s = stayed_s = time.monotonic()
        deadline_s += wait_s
        poll_s = POLL_FIRST_S
        with self._bell.heard(visit.woken, worker.queues):
            while True:
                visit.woken.clear()
                if visit.is_over:
                    return []
                async with self._turns:
                    claims = await self._workers.claim(worker_id, worker)
                now_s = time.monotonic()
                if claims or now_s >= deadline_s:
                    return claims
                if now_s - stayed_s >= HEARTBEAT_S:
                    await self._workers.stay(worker_id, worker.namespace)
                    stayed_s = now_s
                try:
                    async with asyncio.timeout(min(poll_s * _RNG.uniform(0.8, 1.0), deadline_s - now_s)):
                        await visit.woken.wait()
                    poll_s = POLL_FIRST_S
                except TimeoutError:
                    poll_s = min(poll_s * 2, POLL_CAP_S)
                await check_again()  # the key may have been revoked meanwhile

    def _claimed(self, claim: Claim) -> ClaimedJob:
        return ClaimedJob(
            job_id=claim.job_id,
            task_type=claim.kind,
            queue=claim.queue,
            payload=msgspec.Raw(claim.payload.encode()),
            attempt=claim.attempt,
            failures=claim.failures,
            retries=claim.retries,
            timeout=round(claim.timeout_s * 1000),
            headers=portable_headers(claim.headers),
            token=self._tokens.seal(claim),
        )

    # Living ----------------------------------------------------------------------------------------------------------

    async def beat(self, principal: Principal, said: Heartbeat) -> HeartbeatAnswer:
        """Prove a worker's life and tell it what to stop. Raises NotFound for one that was declared dead."""
        running = None
        if said.tokens is not None:
            pointers = [f"/tokens/{index}" for index in range(len(said.tokens))]
            running = [ticket.claim for ticket in self._open(principal, said.tokens, pointers)]
        pulse = await self._workers.beat(WorkerId(said.workerId), principal.namespace, running)
        return HeartbeatAnswer(
            heartbeat_every_ms=HEARTBEAT_MS,
            cancelled=[AttemptRef(held.job_id, held.attempt) for held in pulse.cancelled],
            lost=[AttemptRef(claim.job_id, claim.attempt) for claim in pulse.lost],
        )

    async def sign_off(self, principal: Principal, worker_id: UUID) -> SignedOff:
        """End a worker in good order; what it still holds goes to others. Raises NotFound if there is none."""
        return SignedOff(await self._workers.leave(WorkerId(worker_id), principal.namespace))

    # Ending ----------------------------------------------------------------------------------------------------------

    async def complete(self, principal: Principal, said: CompleteJobs) -> ItemsView:
        """Write down successes. A result that cannot be kept fails its job for good, as it does in a worker of ours."""
        tickets = self._open_items(principal, [item.token for item in said.items])
        outcomes = [
            policy.succeeded(ticket.claim, item.result, ticket.age_s)
            for ticket, item in zip(tickets, said.items, strict=True)
        ]
        return await self._end(outcomes, explain=True)

    async def fail(self, principal: Principal, said: FailJobs) -> ItemsView:
        """Write down failures: retried as the job says, unless its worker knows better."""
        errors = [
            FieldError(f"/items/{index}/retryAfter", "exclusive", "give retryAfter or permanent, not both")
            for index, item in enumerate(said.items)
            if item.permanent and item.retryAfter is not None
        ]
        tickets = self._open_items(principal, [item.token for item in said.items], errors)
        return await self._end([_failed(ticket, item) for ticket, item in zip(tickets, said.items, strict=True)])

    async def hand_back(self, principal: Principal, said: HandBackJobs) -> ItemsView:
        """Let others run jobs, uncharged; one that was asked to cancel is cancelled by this."""
        tickets = self._open_items(principal, [item.token for item in said.items])
        outcomes = [policy.handed_back(ticket.claim) for ticket in tickets]
        lost = await self._workers.hand_back([ticket.claim for ticket in tickets])
        return await self._answer(outcomes, lost)

    async def _end(self, outcomes: Sequence[Outcome], *, explain: bool = False) -> ItemsView:
        lost = await self._workers.end(outcomes)
        for outcome in outcomes:
            claim = outcome.claim
            _log.info(
                "taskflow.attempt.stop",
                job_id=str(claim.job_id),
                kind=claim.kind,
                queue=claim.queue,
                attempt=claim.attempt,
                outcome=str(outcome.kind),
                state=str(outcome.state),
                duration_ms=round((outcome.duration_s or 0.0) * 1000, 3),
                error=outcome.error.type if outcome.error else None,
            )
        return await self._answer(outcomes, lost, explain=explain)

    async def _answer(
        self, outcomes: Sequence[Outcome], lost: Sequence[Outcome], *, explain: bool = False
    ) -> ItemsView:
        gone = {(outcome.claim.lease_id, outcome.claim.position) for outcome in lost}
        again = [outcome.claim for outcome in outcomes if outcome.state in (State.RETRYING, State.PENDING)]
        cancelled = await self._workers.find_cancelled(again) if again else set()
        items = []
        for outcome in outcomes:
            claim = outcome.claim
            if (claim.lease_id, claim.position) in gone:
                items.append(ItemView(claim.job_id, claim.attempt, "lease_lost"))
            elif outcome.state in (State.RETRYING, State.PENDING) and claim.job_id in cancelled:
                items.append(ItemView(claim.job_id, claim.attempt, "cancelled"))
            else:
                error = outcome.error.message if explain and outcome.error else None
                items.append(ItemView(claim.job_id, claim.attempt, _STATUSES[outcome.state], error))
        return ItemsView(items)

    def _open_items(
        self, principal: Principal, tokens: Sequence[str], errors: Sequence[FieldError] = ()
    ) -> list[Ticket]:
        return self._open(principal, tokens, [f"/items/{index}/token" for index in range(len(tokens))], errors)

    def _open(
        self,
        principal: Principal,
        tokens: Sequence[str],
        pointers: Sequence[str],
        errors: Sequence[FieldError] = (),
        *,
        repeated: bool = False,
    ) -> list[Ticket]:
        """Return what *tokens* say, in their order. Raises Invalid naming each that is none, or there twice."""
        found, bad = [], list(errors)
        seen: set[tuple[LeaseId, int]] = set()
        for token, pointer in zip(tokens, pointers, strict=True):
            ticket = self._tokens.open(token, principal.namespace)
            if ticket is None:
                detail = "is not a token of this namespace; send it as the claim answered it"
                bad.append(FieldError(pointer, "bad_token", detail))
                continue
            place = ticket.claim.lease_id, ticket.claim.position
            if place in seen and not repeated:
                bad.append(FieldError(pointer, "given_twice", "is given more than once"))
            else:
                found.append(ticket)
            seen.add(place)
        if bad:
            raise Invalid("the request has invalid fields; nothing was done", errors=bad)
        return found

    # Logs ------------------------------------------------------------------------------------------------------------

    async def write_logs(self, principal: Principal, said: WriteLines) -> LinesView:
        """Append lines to the logs of running jobs."""
        pointers = [f"/lines/{index}/token" for index in range(len(said.lines))]
        tickets = self._open(principal, [line.token for line in said.lines], pointers, repeated=True)
        now_s = time.monotonic()
        lines = [
            NewLogLine(ticket.claim, line.level, storable(line.message)[:MAX_LOG_CHARS], now_s)
            for ticket, line in zip(tickets, said.lines, strict=True)
        ]
        written = await self._workers.write_logs(lines, written_at_s=now_s)
        return LinesView(written, max(0, len(lines) - written))

    async def report_progress(self, principal: Principal, said: ReportProgress) -> ReportsView:
        """Note how far running jobs are; the last report of a job is shown with it."""
        now_s = time.monotonic()
        tickets = self._open_items(principal, [item.token for item in said.items])
        reports = [
            NewProgress(ticket.claim, item.fraction, storable(item.message)[:MAX_PROGRESS_CHARS], now_s)
            for ticket, item in zip(tickets, said.items, strict=True)
        ]
        written = await self._workers.write_progress(reports, written_at_s=now_s)
        return ReportsView(written, len(reports) - written)

    # Kinds -----------------------------------------------------------------------------------------------------------

    async def publish(self, principal: Principal, said: PublishKinds) -> PublishedKinds:
        """
        Make kinds known; payloads of new jobs are checked against their schemas from now on.

        Raises:
            Invalid: naming every bad field, nothing was published.
            Conflict: a kind is built in, or published by somebody else.
        """
        infos = check_kinds(said)
        taken = sorted({info.kind for info in infos} & kinds.RESERVED)
        if not taken:
            published = [(info, schema_hash(info.schema)) for info in infos]
            taken = await self._workers.publish(principal.namespace, published)
        if taken:
            detail = f"{taken[0]!r} is a kind of somebody else's workers; choose another name"
            raise Conflict(detail, code="kind_taken", facts={"taken": taken})
        self._catalogue.expire()
        return view_of_kinds(infos)


def _failed(ticket: Ticket, item: FailedItem) -> Outcome:
    error = JobError(item.error.type, item.error.message, item.error.traceback)
    if item.permanent:
        return policy.failed_for_good(ticket.claim, error, ticket.age_s)
    retry_after_s = None if item.retryAfter is None else item.retryAfter / 1000
    return policy.failed(ticket.claim, OutcomeKind.ERROR, error, ticket.age_s, retry_after_s=retry_after_s)
