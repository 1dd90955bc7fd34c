"""Callbacks from a real worker to a real receiver that does its worst."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from tests.support.proxy import Proxy
from tests.support.receiver import Received, answering, dripping, hanging, receiving, saying
from tests.support.waiting import eventually
from tests.support.workers import Nothing, reaches, working

import taskflow
from taskflow.adapters.fetch import Fetcher
from taskflow.db.pool import Database
from taskflow.engine.client import Engine
from taskflow.engine.job import (
    DEFAULT_NAMESPACE,
    DEFAULT_QUEUE,
    DELIVERY_QUEUE,
    SYSTEM_NAMESPACE,
    Enqueued,
    JobFilter,
    NewJob,
    OutcomeKind,
    State,
)
from taskflow.engine.registry import JobContext, Registry
from taskflow.handlers import outage, webhook
from taskflow.http.secret import RootSecret
from taskflow.identity.access import Permission, Principal
from taskflow.kernel.errors import Conflict, NotFound, Permanent
from taskflow.webhooks.repository import DeliveryStatus
from taskflow.webhooks.schemas import DeliveryView, view_of_followed
from taskflow.webhooks.service import Deliveries
from taskflow.webhooks.signature import sign, signing_secret

ROOT = RootSecret(b"k" * 32)
OWNER = Principal(UUID(int=9), DEFAULT_NAMESPACE, "owner", frozenset(Permission))
STRANGER = Principal(UUID(int=8), UUID(int=7), "stranger", frozenset(Permission))

pytestmark = pytest.mark.slow


class Shop:
    """A deployment with a worker that takes orders and delivers callbacks."""

    def __init__(self, url: str, database: Database, engine: Engine) -> None:
        self.url = url
        self.database = database
        self.engine = engine
        self.deliveries = Deliveries(database, engine, ROOT)

    def registry(
        self,
        *,
        timeout_s: float = 5.0,
        max_retries: int = 9,
        allow_loopback: bool = True,
        database: Database | None = None,
    ) -> Registry:
        """*database* is the deliverer's, if not ours."""
        registry = Registry()
        engine = self.engine if database is None else Engine(database)

        @registry.job("order", payload=Nothing, retries=0)
        async def order(_ctx: JobContext, _payload: Nothing) -> dict[str, int]:
            return {"total": 42}

        @registry.job("refuse", payload=Nothing, retries=0)
        async def refuse(_ctx: JobContext, _payload: Nothing) -> None:
            raise Permanent("out of stock at postgresql://ada:s3cret@db/shop")

        fetcher = Fetcher(allow_loopback=allow_loopback)
        deliverer = webhook.Deliverer(
            database or self.database, engine, fetcher, ROOT, timeout_s=timeout_s, max_retries=max_retries
        )
        webhook.register(registry, deliverer)
        return registry

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[None]:
        async with working(self.url, self.registry(**options), queues=[DEFAULT_QUEUE, DELIVERY_QUEUE]):
            yield

    async def submit(self, url: str, kind: str = "order", **fields: Any) -> Enqueued:
        return await self.engine.enqueue(NewJob(kind, {}, callback_url=url, retries=0, **fields))

    async def delivery_of(self, job: Enqueued) -> DeliveryView:
        """The only delivery of *job*, once there is one."""
        await reaches(self.engine, job)
        (delivery,) = await self.deliveries.list_page(OWNER, job_id=job.id, status=None, before=None, limit=10)
        return view_of_followed(await self.deliveries.get(OWNER, delivery.id))

    async def settled(self, job: Enqueued) -> DeliveryView:
        """The delivery of *job*, once it has been taken or given up."""
        delivery = await self.delivery_of(job)
        await reaches(self.engine, job_id_of(delivery))
        return await self.delivery_of(job)


def job_id_of(delivery: DeliveryView) -> Any:
    return delivery.delivery_id


def secret_of(namespace: UUID = DEFAULT_NAMESPACE) -> str:
    return signing_secret(ROOT, namespace)


def verified(request: Received, secret: str | None = None) -> Mapping[str, Any]:
    """What a receiver that checks its callbacks sees of one."""
    found: Mapping[str, Any] = Webhook(secret or secret_of()).verify(request.body, dict(request.headers))
    return found


@pytest.fixture
async def shop(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    monkeypatch.setattr(webhook, "SCHEDULE_S", (0.01,) * 9)
    database = Database(database_url, max_size=5)
    async with Engine(database) as engine:
        yield Shop(database_url, database, engine)
    await database.stop()


@pytest.mark.covers("S2-17", "S2-23", "X-9")
async def test_a_callback_tells_the_result_under_a_signature_that_others_can_verify(shop: Shop) -> None:
    async with receiving(answering(200)) as receiver, shop.open():
        job = await shop.submit(receiver.url)
        delivery = await shop.settled(job)
    (request,) = receiver.requests
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    ended = (await shop.engine.get_job(job.id)).finished_at
    assert ended is not None
    body = verified(request)
    assert datetime.fromisoformat(body.pop("timestamp")) == ended  # type: ignore[attr-defined]
    assert body == {
        "type": "job.completed",
        "data": {
            "jobId": str(job.id),
            "taskType": "order",
            "status": "completed",
            "result": {"total": 42},
            "error": None,
        },
    }
    assert request.headers["webhook-id"] == f"msg_{delivery.delivery_id}"
    assert delivery.status is DeliveryStatus.DELIVERED
    (attempt,) = delivery.attempts or []
    assert attempt.response is not None
    assert (attempt.outcome, attempt.response.status, attempt.response.body) == (OutcomeKind.COMPLETED, 200, "ok")
    with pytest.raises(WebhookVerificationError):
        verified(request, secret_of(UUID(int=7)))


@pytest.mark.covers("S2-17", "S2-23")
async def test_a_failure_and_a_cancel_are_told_too_and_no_secret_with_them(shop: Shop) -> None:
    async with receiving(answering(204, b"")) as receiver, shop.open():
        failed = await shop.submit(receiver.url, "refuse")
        await receiver.wait_for(1)
        cancelled = await shop.submit(receiver.url, run_after=timedelta(hours=1))
        await shop.engine.cancel(cancelled.id)
        await receiver.wait_for(2)
    told = [verified(request) for request in receiver.requests]
    assert [(body["type"], body["data"]["jobId"], body["data"]["result"]) for body in told] == [
        ("job.failed", str(failed.id), None),
        ("job.cancelled", str(cancelled.id), None),
    ]
    assert "out of stock" in told[0]["data"]["error"]
    assert "s3cret" not in receiver.requests[0].body.decode()
    assert told[1]["data"]["error"] is None


@pytest.mark.covers("S2-23", "S2-35", "S2-47", "X-9")
async def test_a_receiver_that_fails_is_told_again_with_the_same_id_and_body(shop: Shop) -> None:
    lie = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort")
    bad = (answering(500, b"oops \x00 \xff"), answering(302, b"", location="/x"), saying(b"SSH-2.0\r\n"), hanging())
    async with receiving(*bad, lie) as receiver, shop.open(timeout_s=0.5):
        delivery = await shop.settled(await shop.submit(receiver.url))
    assert len({(request.headers["webhook-id"], request.body) for request in receiver.requests}) == 1
    assert [verified(request)["type"] for request in receiver.requests] == ["job.completed"] * 5
    assert delivery.status is DeliveryStatus.DELIVERED
    seen = [(attempt.response.status, attempt.response.body) for attempt in delivery.attempts or [] if attempt.response]
    assert seen == [(500, "oops \ufffd \ufffd"), (302, ""), (None, None), (None, None), (200, "short")]
    faults = [attempt.response.fault for attempt in delivery.attempts or [] if attempt.response]
    assert "within 0.5 s" in str(faults[3])
    errors = [attempt.error for attempt in delivery.attempts or []]
    assert errors[0] == f"http://127.0.0.1:{receiver.port} answered 500"
    assert not any("s3cret" in str(text) for text in (*errors, *faults))


async def test_a_receiver_that_drips_its_answer_has_taken_it_all_the_same(shop: Shop) -> None:
    drip = dripping(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100000\r\n\r\n" + b"a" * 2000)
    async with receiving(drip) as receiver, shop.open():
        delivery = await shop.settled(await shop.submit(receiver.url))
    assert delivery.status is DeliveryStatus.DELIVERED
    (attempt,) = delivery.attempts or []
    assert attempt.response is not None
    assert attempt.response.body == "a" * 1024


@pytest.mark.covers("X-9")
async def test_gone_ends_a_delivery_for_good_and_a_person_can_make_it_again(shop: Shop) -> None:
    async with receiving(answering(410, b"bye"), answering(200)) as receiver, shop.open():
        job = await shop.submit(receiver.url)
        delivery = await shop.settled(job)
        assert delivery.status is DeliveryStatus.FAILED
        assert len(receiver.requests) == 1
        dead = await shop.deliveries.list_page(OWNER, job_id=None, status=DeliveryStatus.FAILED, before=None, limit=10)
        assert [letter.id for letter in dead] == [delivery.delivery_id]
        with pytest.raises(NotFound):
            await shop.deliveries.replay(STRANGER, delivery.delivery_id)
        replayed = await shop.deliveries.replay(OWNER, delivery.delivery_id)
        assert (replayed.delivery.status, replayed.delivery.settled_at) == (DeliveryStatus.PENDING, None)
        again = await shop.settled(job)
    assert again.status is DeliveryStatus.DELIVERED
    assert [attempt.response.status for attempt in again.attempts or [] if attempt.response] == [410, 200]
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


@pytest.mark.covers("X-9")
async def test_what_was_taken_is_made_again_once_with_the_same_id_and_a_new_attempt(shop: Shop) -> None:
    async with receiving(answering(200)) as receiver:
        async with shop.open():
            job = await shop.submit(receiver.url)
            delivery = await shop.settled(job)
        said = await asyncio.gather(
            *(shop.deliveries.replay(OWNER, delivery.delivery_id) for _ in range(2)), return_exceptions=True
        )
        [refusal] = [one for one in said if isinstance(one, Conflict)]
        assert (refusal.code, refusal.facts) == ("delivery_pending", {"status": "pending"})
        waiting = await shop.delivery_of(job)
        assert (waiting.status, waiting.settled_at) == (DeliveryStatus.PENDING, None)
        async with shop.open():
            again = await shop.settled(job)
    assert again.status is DeliveryStatus.DELIVERED
    assert [(attempt.attempt, attempt.outcome) for attempt in again.attempts or []] == [
        (1, OutcomeKind.COMPLETED),
        (2, OutcomeKind.COMPLETED),
    ]
    first, second = receiver.requests
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert verified(second)["type"] == "job.completed"


async def test_a_delivery_whose_job_is_gone_stays_as_it_is(shop: Shop) -> None:
    async with receiving(answering(200)) as receiver, shop.open():
        job = await shop.submit(receiver.url)
        delivery = await shop.settled(job)
        async with shop.database.acquire() as connection:
            await connection.execute("DELETE FROM taskflow.job WHERE id = $1", job.id)
        with pytest.raises(Conflict) as refusal:
            await shop.deliveries.replay(OWNER, delivery.delivery_id)
    assert refusal.value.code == "job_gone"
    assert (await shop.deliveries.get(OWNER, delivery.delivery_id)).delivery.status is DeliveryStatus.DELIVERED


@pytest.mark.covers("S2-36", "X-9")
async def test_retries_end_where_the_setting_says(shop: Shop) -> None:
    async with receiving(answering(500)) as receiver, shop.open(max_retries=2):
        delivery = await shop.settled(await shop.submit(receiver.url))
    assert len(receiver.requests) == 3
    assert delivery.status is DeliveryStatus.FAILED
    assert [attempt.outcome for attempt in delivery.attempts or []] == [OutcomeKind.ERROR] * 3
    assert "given up after 3 attempts" in str((delivery.attempts or [])[-1].error)


async def test_an_outage_of_our_own_database_uses_up_no_attempt(
    shop: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one that lasts, nor a connection that is lost on the way to either of the two reads."""
    monkeypatch.setattr(outage, "AWAY_S", 0.01)

    async def snoozes(job: Enqueued, count: int) -> bool:
        found = await shop.delivery_of(job)
        seen = [attempt.outcome for attempt in found.attempts or ()]
        assert set(seen) <= {OutcomeKind.SNOOZED}
        return len(seen) >= count

    async with Proxy(database_url) as proxy, receiving(answering(200)) as receiver:
        database = Database(proxy.url, max_size=2, patience_s=0.05)
        await proxy.close_door()
        async with shop.open(database=database, max_retries=0):
            job = await shop.submit(receiver.url)
            await eventually("two attempts in vain", lambda: snoozes(job, 2))
            assert receiver.requests == []
            for statement in ("find_delivery", "read_jobs"):
                proxy.lose_answer(statement)
            await proxy.heal()
            delivery = await shop.settled(job)
        await database.stop()
    assert delivery.status is DeliveryStatus.DELIVERED
    assert proxy.lost == 2
    assert (await shop.engine.get_job(job_id_of(delivery), namespace=SYSTEM_NAMESPACE)).failures == 0
    assert len(receiver.requests) == 1


async def test_a_receiver_says_when_to_come_again(shop: Shop) -> None:
    async with receiving(answering(429, b"", retry_after="3600")) as receiver, shop.open():
        job = await shop.submit(receiver.url)
        await receiver.wait_for(1)
        delivery = await shop.delivery_of(job)
        await reaches(shop.engine, job_id_of(delivery), State.RETRYING)
        delivery = await shop.delivery_of(job)
    assert isinstance(delivery.next_attempt_at, datetime)
    assert 3500 < (delivery.next_attempt_at - datetime.now(UTC)).total_seconds() < 3700


async def test_an_address_inside_is_not_called_whatever_was_let_through_before(shop: Shop) -> None:
    """The guard stands at delivery: a URL may have been stored when the deployment was for development."""
    async with receiving(answering(200)) as receiver, shop.open(allow_loopback=False):
        delivery = await shop.settled(await shop.submit(receiver.url))
    assert receiver.requests == []
    assert delivery.status is DeliveryStatus.FAILED
    assert "not public" in str((delivery.attempts or [])[0].error)


@pytest.mark.covers("X-9")
async def test_a_worker_that_dies_before_its_bookkeeping_delivers_again_with_the_same_id(shop: Shop) -> None:
    """The receiver has answered; nobody wrote it down. The claim goes back and another worker takes it."""
    arrived = asyncio.Event()

    async def answer_late(received: Received, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await asyncio.Event().wait()

    async with receiving(answer_late, answering(200)) as receiver, shop.open(timeout_s=30.0):
        job = await shop.submit(receiver.url)
        await arrived.wait()
        # What is left of a process that is killed here: an open lease, given back by its supervisor.
        async with shop.database.transaction() as connection:
            leases = await shop.engine._store.find_child_leases(
                connection, worker_id=(await shop.engine.list_workers())[0].id
            )
            await shop.engine._store.return_leases(connection, leases, OutcomeKind.LOST)
        shop.engine.wake([DELIVERY_QUEUE])
        delivery = await shop.settled(job)
    assert len(receiver.requests) == 2
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert [attempt.outcome for attempt in delivery.attempts or []] == [OutcomeKind.LOST, OutcomeKind.COMPLETED]


async def test_deliveries_are_not_among_the_jobs_of_anybody(shop: Shop) -> None:
    async with receiving(answering(200)) as receiver, shop.open():
        jobs: Sequence[Enqueued] = [await shop.submit(receiver.url) for _ in range(3)]
        for job in jobs:
            await shop.settled(job)
    page = await shop.engine.list_jobs(DEFAULT_NAMESPACE, JobFilter(), limit=10)
    assert {job.kind for job in page.items} == {"order"}
    first = await shop.deliveries.list_page(OWNER, job_id=None, status=None, before=None, limit=2)
    rest = await shop.deliveries.list_page(OWNER, job_id=None, status=None, before=first[-1].id, limit=2)
    assert [delivery.job_id for delivery in (*first, *rest)] == [job.id for job in reversed(jobs)]
    assert await shop.deliveries.list_page(STRANGER, job_id=None, status=None, before=None, limit=10) == []


def test_the_schedule_is_three_days_long_and_lightly_scattered() -> None:
    hours = [webhook.backoff_s(failures) / 3600 for failures in range(1, 10)]
    for wait_h, expected_s in zip(hours, webhook.SCHEDULE_S, strict=True):
        assert expected_s <= wait_h * 3600 <= expected_s * 1.05
    assert 70 < sum(webhook.SCHEDULE_S) / 3600 < 80


def test_retry_after_is_seconds_or_a_date_and_bounded() -> None:
    assert webhook.retry_after_s("120") == 120
    assert webhook.retry_after_s("99999999999999999999") == 24 * 3600
    assert webhook.retry_after_s("soon") is None
    for date in (f"1 Jan {'9' * 30} 00:00:00", f"1 Jan 2030 00:00:{'9' * 30}", f"1 Jan 2030 00:00:00 +{'9' * 30}"):
        assert webhook.retry_after_s(date) is None
    assert webhook.retry_after_s("-5") is None
    assert webhook.retry_after_s(None) is None
    later = webhook.retry_after_s(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert later is not None
    assert 50 < later <= 60
    assert webhook.retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0


def test_a_signature_is_what_the_standard_library_makes_of_it() -> None:
    delivery_id, at = UUID(int=5), datetime.now(UTC).replace(microsecond=0)
    body = json.dumps({"a": "ü"}).encode()
    headers = sign(secret_of(), delivery_id, int(at.timestamp()), body)
    expected = Webhook(secret_of()).sign(f"msg_{delivery_id}", at, body.decode())
    assert headers["webhook-signature"] == expected
    assert secret_of() != secret_of(UUID(int=7))


def test_the_job_of_a_delivery_fits_its_handler() -> None:
    """`taskflow.settle` writes retries and time limit in SQL; the handler knows the same."""
    sql = (Path(taskflow.__file__).parent / "db/migrations/sql/0001_pre_engine.sql").read_text()
    assert f"5, {webhook.MAX_RETRIES}, {round(webhook.JOB_TIMEOUT_S * 1000)}, " in sql
