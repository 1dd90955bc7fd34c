"""
The handler of `deliver_webhook`: tells one end of a job to its callback URL. Jobs of this kind are made by
`taskflow.settle` alone; their id is that of the delivery they make.

    2xx            taken
    410            the receiver wants no more: given up
    anything else  again by the schedule, or when the receiver's Retry-After says so, until that is used up

What our own database does is none of that: while it is away nothing is sent, and no attempt is used up.

A worker that dies between the answer and its bookkeeping leaves a job that is run again: the receiver gets the same
`webhook-id` once more. That is "at least once", and why the id is stable.
"""

import random
import time
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from taskflow.adapters.address import Refused, parse_url
from taskflow.adapters.fetch import Fetched, Fetcher, Limits
from taskflow.db.pool import DATABASE_ERRORS, Database
from taskflow.engine.client import Engine
from taskflow.engine.job import DELIVERY_KIND, DELIVERY_QUEUE
from taskflow.engine.registry import JobContext, Registry
from taskflow.handlers.outage import uncharged
from taskflow.http.secret import RootSecret
from taskflow.kernel.errors import ExternalError, NotFound, Permanent
from taskflow.webhooks import message, repository
from taskflow.webhooks.call import begin_call
from taskflow.webhooks.repository import Delivery
from taskflow.webhooks.signature import sign, signing_secret

# Seconds before each retry, after Standard Webhooks: within three days an outage is over or noticed.
SCHEDULE_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
MAX_RETRIES = len(SCHEDULE_S)
JITTER = 0.05  # of a wait, so that what failed together does not come back together
MAX_RETRY_AFTER_S = 24 * 3600.0
EXCERPT_BYTES = 1024
JOB_TIMEOUT_S = 120.0  # as `taskflow.settle` has it; above every timeout that can be set
GONE = 410

_rng = random.Random()  # noqa: S311 -- spreads retries, guards nothing


class DeliverWebhook(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Which job has ended; for people who look at the queue. What is delivered is found by the job's own id."""

    job_id: str
    namespace: str


class Taken(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The receiver's status."""

    status: int


def backoff_s(failures: int) -> float:
    """Return the wait before the next attempt, after *failures* of them."""
    wait_s = SCHEDULE_S[min(failures, len(SCHEDULE_S)) - 1]
    return wait_s * (1 + _rng.uniform(0, JITTER))


class Deliverer:
    """
    Makes attempts.

    Args:
        timeout_s: for one attempt.
        max_retries: the schedule is cut after so many.
    """

    def __init__(
        self,
        database: Database,
        engine: Engine,
        fetcher: Fetcher,
        root: RootSecret,
        *,
        timeout_s: float,
        max_retries: int,
    ) -> None:
        self._database = database
        self._engine = engine
        self._fetcher = fetcher
        self._root = root
        self._limits = Limits(timeout_s=timeout_s, body_bytes=EXCERPT_BYTES)
        self._max_retries = max_retries

    async def deliver(self, ctx: JobContext, _payload: DeliverWebhook) -> Taken:
        with uncharged():
            async with self._database.acquire() as connection:
                delivery = await repository.find(connection, ctx.job_id, None)
            if delivery is None:
                raise Permanent("this job belongs to no delivery")
            try:
                job = await self._engine.get_job(delivery.job_id, namespace=delivery.namespace)
            except NotFound:
                raise Permanent("the job that has ended is no longer kept") from None
        if job.callback_url is None:
            raise Permanent("the job has no callback URL")
        body = message.encode(delivery, job)
        try:
            answer = await self._post(ctx, delivery, job.callback_url, body)
        except Refused as refusal:
            if refusal.transient:
                raise self._failure(ctx, str(refusal)) from None
            raise Permanent(f"the callback URL {refusal}") from None
        except ExternalError as error:
            raise self._failure(ctx, str(error)) from None
        if 200 <= answer.status < 300:
            return Taken(status=answer.status)
        words = f"{_origin(job.callback_url)} answered {answer.status}"
        if answer.status == GONE:
            raise Permanent(f"{words}: it wants no more")
        raise self._failure(ctx, words, retry_after_s(answer.headers.get("retry-after")))

    async def _post(self, ctx: JobContext, delivery: Delivery, url: str, body: bytes) -> Fetched:
        """Make one attempt and keep what it met."""
        secret = signing_secret(self._root, delivery.namespace)
        headers = {"Content-Type": "application/json", **sign(secret, delivery.id, int(time.time()), body)}
        began_s = time.monotonic()
        answer: Fetched | None = None
        fault = fault_type = None
        call = begin_call("POST", url, ctx.claim)
        headers |= call.headers
        try:
            answer = await self._fetcher.fetch("POST", url, limits=self._limits, headers=headers, content=body)
        except ExternalError as error:
            fault, fault_type = str(error), type(error).__name__
            raise
        finally:
            call.end(None if answer is None else answer.status, fault_type)
            if answer is not None or fault is not None:
                # What the receiver has taken is not sent again because we cannot write about it now.
                with suppress(*DATABASE_ERRORS):
                    async with self._database.acquire() as connection:
                        await repository.keep_response(
                            connection,
                            delivery.id,
                            ctx.attempt,
                            duration_s=time.monotonic() - began_s,
                            status=None if answer is None else answer.status,
                            excerpt=None if answer is None else _text(answer.body),
                            fault=fault,
                        )
        return answer

    def _failure(self, ctx: JobContext, words: str, after_s: float | None = None) -> Exception:
        """The error of an attempt that failed: to be tried again, unless the schedule as set is used up."""
        if ctx.failures >= self._max_retries:
            return Permanent(f"{words}; given up after {ctx.failures + 1} attempts")
        return ExternalError(words, transient=True, retry_after_s=after_s)


def register(registry: Registry, deliverer: Deliverer) -> None:
    """Offer `deliver_webhook`."""
    registry.job(
        DELIVERY_KIND,
        payload=DeliverWebhook,
        queue=DELIVERY_QUEUE,
        retries=MAX_RETRIES,
        timeout_s=JOB_TIMEOUT_S,
        backoff=backoff_s,
        trusted=True,  # it signs, and child processes know no secret
    )(deliverer.deliver)


def retry_after_s(value: str | None) -> float | None:
    """Return the seconds that a Retry-After asks for, at most `MAX_RETRY_AFTER_S`; None if it cannot be understood."""
    if value is None:
        return None
    if value.isascii() and value.isdecimal():
        return min(float(value[:12]), MAX_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(value)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return min(max(0.0, (at - datetime.now(UTC)).total_seconds()), MAX_RETRY_AFTER_S)
    except (ValueError, OverflowError):
        return None


def _origin(url: str) -> str:
    return parse_url(url, allow_loopback=True).origin


def _text(body: bytes) -> str:
    """What a receiver said, as PostgreSQL can keep it."""
    return body.decode("utf-8", "replace").replace("\x00", "\ufffd")
