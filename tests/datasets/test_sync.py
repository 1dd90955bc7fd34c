"""`sync` from a real worker, of a real server, into PostgreSQL; and its rows over the API."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.datasets.syncing import command, registry_of
from tests.support.api import Api, check_problem, pointers
from tests.support.receiver import Behaviour, answering, receiving, saying
from tests.support.waiting import eventually
from tests.support.workers import reaches, working

from taskflow.datasets import repository, service
from taskflow.datasets.repository import NewRow
from taskflow.datasets.service import Datasets
from taskflow.db.pool import Database
from taskflow.engine.client import Engine
from taskflow.engine.job import DEFAULT_NAMESPACE, Job, NewJob, State

pytestmark = pytest.mark.slow

TEA, COFFEE, MILK = {"id": 1, "name": "tea"}, {"id": 2, "name": "coffee"}, {"id": 3, "name": "milk"}


class Keeper:
    """A deployment whose worker syncs."""

    def __init__(self, url: str, database: Database, engine: Engine) -> None:
        self.url = url
        self.database = database
        self.engine = engine
        self.datasets = Datasets(database)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with working(self.url, registry_of(self.database), queues=["builtin"], command=command(self.url)):
            yield

    async def sync(self, url: str, **fields: Any) -> Job:
        retries = fields.pop("retries", 0)
        payload = {"url": url, "dataset": "stock", "format": "json", **fields}
        job = await self.engine.enqueue(NewJob("sync", payload, queue="builtin", retries=retries))
        return await reaches(self.engine, job, within_s=20)

    async def rows(self, name: str = "stock") -> dict[str, Any]:
        _, rows = await self.datasets.list_rows(DEFAULT_NAMESPACE, name, after="", limit=100)
        return {row.key: json.loads(row.row) for row in rows}


@pytest.fixture
async def keeper(database_url: str) -> AsyncIterator[Keeper]:
    database = Database(database_url, max_size=5)
    async with Engine(database) as engine:
        yield Keeper(database_url, database, engine)
    await database.stop()


def giving(*rows: dict[str, Any], **headers: str) -> Behaviour:
    return answering(200, json.dumps(rows).encode(), **headers)


def counts(job: Job) -> tuple[int, int, int, int]:
    assert job.state is State.COMPLETED, job.error
    result: Any = job.result
    return result["added"], result["changed"], result["removed"], result["unchanged"]


async def test_what_strangers_say_is_decoded_where_it_can_hurt_nobody(keeper: Keeper) -> None:
    """20 MiB of JSON may be half a gigabyte of objects: they are made in a process of its own, within bounds."""
    kind = registry_of(keeper.database)["sync"]
    assert (kind.isolation, kind.memory_limit_mb, kind.cpu_limit_s) == ("process", 1024, 60)
    large = b"[" + b'{"id": 1, "a": []},' * 1_000_000 + b'{"id": 2}]'
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with receiving(answering(200, large)) as server, keeper.open():
        failed = await keeper.sync(server.url)
    assert failed.error is not None
    assert "rows" in failed.error.message or "same id" in failed.error.message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 200_000


async def test_a_dataset_follows_what_the_url_says(keeper: Keeper) -> None:
    later = {**COFFEE, "name": "espresso"}
    async with receiving(giving(TEA, COFFEE), giving(later, TEA, MILK), giving(MILK)) as server, keeper.open():
        assert counts(await keeper.sync(server.url)) == (2, 0, 0, 0)
        assert await keeper.rows() == {"1": TEA, "2": COFFEE}
        assert counts(await keeper.sync(server.url)) == (1, 1, 0, 1)
        assert await keeper.rows() == {"1": TEA, "2": later, "3": MILK}
        assert counts(await keeper.sync(server.url)) == (0, 0, 2, 1)
        last = await keeper.sync(server.url)
        assert counts(last) == (0, 0, 0, 1)
        assert last.result["version"] == 3  # type: ignore[index,call-overload]
    assert (await keeper.datasets.get(DEFAULT_NAMESPACE, "stock")).row_count == 1


async def test_what_has_not_changed_is_not_sent_again(keeper: Keeper) -> None:
    """By ETag, else by Last-Modified; and only for a sync that reads the answer in the same way."""
    since = "Sat, 28 Nov 2026 10:00:00 GMT"
    unchanged = answering(304, b"")
    behaviours = (giving(TEA, etag='"v1"'), unchanged, giving(TEA, last_modified=since), unchanged)
    async with receiving(*behaviours) as server, keeper.open():
        await keeper.sync(server.url)
        again = await keeper.sync(server.url)
        assert counts(again) == (0, 0, 0, 1)
        assert again.result["notModified"] is True  # type: ignore[index,call-overload]
        assert again.result["etag"] == '"v1"'  # type: ignore[index,call-overload]
        await keeper.sync(server.url, key="name")
        assert await keeper.rows() == {"tea": TEA}
        await keeper.sync(server.url, key="name")
    asked = [
        (request.headers.get("if-none-match"), request.headers.get("if-modified-since")) for request in server.requests
    ]
    assert asked == [(None, None), ('"v1"', None), (None, None), (None, since)]


async def test_two_syncs_of_one_dataset_take_turns(keeper: Keeper) -> None:
    """The slower one has read an older state: it reads again before it writes."""
    slow_arrived, go = asyncio.Event(), asyncio.Event()

    async def slow(received: Any, writer: asyncio.StreamWriter) -> None:
        slow_arrived.set()
        await go.wait()
        await giving(TEA)(received, writer)

    async with receiving(slow, giving(COFFEE)) as server, keeper.open():
        first = asyncio.ensure_future(keeper.sync(server.url))
        await slow_arrived.wait()
        assert counts(await keeper.sync(server.url)) == (1, 0, 0, 0)
        go.set()
        assert counts(await first) == (0, 0, 0, 1)
        assert len(server.requests) == 3
    assert await keeper.rows() == {"2": COFFEE}


@pytest.mark.parametrize("then", ["nothing", "made anew"])
async def test_a_sync_whose_dataset_is_deleted_meanwhile_fails_for_good(keeper: Keeper, then: str) -> None:
    """Neither the old rows nor those that it has read come back, and a dataset made since is not taken for the old."""
    arrived, go = asyncio.Event(), asyncio.Event()

    async def slow(received: Any, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await go.wait()
        await giving(TEA, MILK)(received, writer)

    async with receiving(slow) as server, keeper.open():
        running = asyncio.ensure_future(keeper.sync(server.url, retries=3))
        await arrived.wait()
        await keeper.datasets.delete(DEFAULT_NAMESPACE, "stock")
        if then == "made anew":
            assert (await keeper.datasets.open(DEFAULT_NAMESPACE, "stock")).version == 0, "as the deleted one was"
        go.set()
        failed = await running
        assert len(server.requests) == 1
    assert failed.error is not None
    assert failed.state is State.FAILED
    assert "the dataset 'stock' was deleted while this job ran" in failed.error.message
    async with keeper.database.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM taskflow.dataset_row") == 0


async def test_a_delete_waits_for_a_sync_that_writes_and_takes_its_rows_too(keeper: Keeper) -> None:
    """And of two deletes at once, one finds nothing."""
    await keeper.datasets.open(DEFAULT_NAMESPACE, "stock")
    async with keeper.database.transaction() as writing:
        await repository.lock(writing, DEFAULT_NAMESPACE, "stock")
        await repository.switch(writing, DEFAULT_NAMESPACE, "stock", [NewRow("1", "{}", bytes(16))])
        deletes = [asyncio.ensure_future(keeper.datasets.delete(DEFAULT_NAMESPACE, "stock")) for _ in range(2)]

        async def both_wait() -> bool:
            async with keeper.database.acquire() as connection:
                waiting = await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
                return bool(waiting == 2)

        await eventually("two that wait", both_wait)
    said = await asyncio.gather(*deletes, return_exceptions=True)
    assert sorted(type(one).__name__ for one in said) == ["NoneType", "NotFound"]
    async with keeper.database.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM taskflow.dataset_row") == 0
        assert await connection.fetchval("SELECT count(*) FROM taskflow.dataset") == 0


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (answering(404), "answered 404"),
        (answering(200, b"<html>"), "not JSON"),
        (giving(TEA, TEA), "row 2 has the same id as row 1"),
        (answering(302, b"", location="http://169.254.169.254/"), "not public"),
        (answering(200, b"a" * 21_000_000), "more than 20971520 bytes"),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[]"), "no valid HTTP"),
        (answering(503), "answered 503"),
    ],
)
async def test_a_sync_that_fails_leaves_the_dataset_as_it_was(keeper: Keeper, behaviour: Behaviour, words: str) -> None:
    async with receiving(giving(TEA), behaviour) as server, keeper.open():
        await keeper.sync(server.url)
        failed = await keeper.sync(server.url)
    assert failed.state is State.FAILED
    assert failed.error is not None
    assert words in failed.error.message
    assert "s3cret" not in failed.error.message
    assert await keeper.rows() == {"1": TEA}


async def test_a_namespace_has_so_many_datasets_and_no_more(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_DATASETS", 1)
    async with receiving(giving(TEA)) as server, keeper.open():
        await keeper.sync(server.url)
        other = await keeper.sync(server.url, dataset="other")
        assert other.error is not None
        assert "1 datasets already" in other.error.message
        assert counts(await keeper.sync(server.url)) == (0, 0, 0, 1)


async def filled(api: Api, name: str, count: int) -> None:
    """A dataset with rows `k000` up."""
    from taskflow.datasets.reading import read_rows

    datasets = Datasets(api.database)
    dataset = await datasets.open(DEFAULT_NAMESPACE, name)
    rows = read_rows(json.dumps([{"id": f"k{n:03}", "n": n} for n in range(count)]).encode(), "json", key="id")
    source = {"url": "https://shop.example/stock.json"}
    assert await datasets.switch(DEFAULT_NAMESPACE, dataset, rows, source=source, etag=None, last_modified=None)


async def test_rows_are_read_page_by_page(api: Api, client: httpx.AsyncClient) -> None:
    await filled(api, "stock", 5)
    await filled(api, "other", 1)
    listed = (await client.get("/api/v1/datasets", params={"limit": 1})).json()
    assert [item["name"] for item in listed["items"]] == ["other"]
    rest = (await client.get("/api/v1/datasets", params={"cursor": listed["nextCursor"]})).json()
    [stock] = rest["items"]
    assert (stock["name"], stock["rows"], stock["version"]) == ("stock", 5, 1)
    assert stock == (await client.get("/api/v1/datasets/stock")).json()
    seen, cursor = [], None
    for _ in range(3):
        asked = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await client.get("/api/v1/datasets/stock/rows", params=asked)).json()
        seen += page["items"]
        cursor = page["nextCursor"]
    assert cursor is None
    assert [(row["key"], row["row"]["n"]) for row in seen] == [(f"k{n:03}", n) for n in range(5)]
    moved = await client.get("/api/v1/datasets/other/rows", params={"cursor": listed["nextCursor"]})
    assert pointers(check_problem(moved, 422, "invalid")) == {"cursor": "bad_cursor"}
    check_problem(await client.get("/api/v1/datasets/none"), 404, "not_found")
    check_problem(await client.get("/api/v1/datasets/none/rows"), 404, "not_found")
    async with api.client(await api.key("owner", namespace=UUID(int=7))) as stranger:
        assert (await stranger.get("/api/v1/datasets")).json()["items"] == []
        check_problem(await stranger.get("/api/v1/datasets/stock/rows"), 404, "not_found")


async def test_a_dataset_is_deleted_with_its_rows_and_no_other(api: Api, client: httpx.AsyncClient) -> None:
    await filled(api, "stock", 5)
    await filled(api, "other", 2)
    async with api.client(await api.key("owner", namespace=UUID(int=7))) as stranger:
        check_problem(await stranger.delete("/api/v1/datasets/stock"), 404, "not_found")
    deleted = await client.delete("/api/v1/datasets/stock")
    assert (deleted.status_code, deleted.content) == (204, b"")
    check_problem(await client.delete("/api/v1/datasets/stock"), 404, "not_found")
    check_problem(await client.get("/api/v1/datasets/stock/rows"), 404, "not_found")
    await filled(api, "stock", 1)
    page = (await client.get("/api/v1/datasets/stock/rows")).json()
    assert [row["key"] for row in page["items"]] == ["k000"], "nothing of the old one"
    assert len((await client.get("/api/v1/datasets/other/rows")).json()["items"]) == 2


async def test_a_cursor_holds_the_longest_key(api: Api, client: httpx.AsyncClient) -> None:
    from taskflow.datasets.reading import read_rows

    datasets = Datasets(api.database)
    dataset = await datasets.open(DEFAULT_NAMESPACE, "long")
    rows = read_rows(json.dumps([{"id": letter * 250} for letter in "äö"]).encode(), "json", key="id")
    assert await datasets.switch(DEFAULT_NAMESPACE, dataset, rows, source={}, etag=None, last_modified=None)
    first = (await client.get("/api/v1/datasets/long/rows", params={"limit": 1})).json()
    second = await client.get("/api/v1/datasets/long/rows", params={"cursor": first["nextCursor"]})
    assert [row["key"][0] for row in (*first["items"], *second.json()["items"])] == ["ä", "ö"]


@pytest.mark.covers("S3-9")
@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"url": "http://10.0.0.1/x"}, "/payload/url", "refused_url"),
        ({"url": "file:///etc/passwd"}, "/payload/url", "refused_url"),
        ({"url": "http://0x7f.1/"}, "/payload/url", "refused_url"),
        ({"url": 7}, "/payload/url", "wrong_type"),
        ({"url": ""}, "/payload/url", "wrong_length"),
        ({"dataset": "Stock!"}, "/payload/dataset", "pattern"),
        ({"dataset": "a" * 101}, "/payload/dataset", "pattern"),
        ({"format": "xml"}, "/payload/format", "unknown_value"),
        ({"key": ""}, "/payload/key", "wrong_length"),
        ({"path": "data"}, "/payload/path", "pattern"),
        ({"delimiter": "x"}, "/payload/delimiter", "unknown_value"),
        ({"colour": "red"}, "/payload/colour", "unknown_field"),
    ],
)
async def test_a_payload_that_cannot_be_synced_is_refused_by_name(
    api: Api, client: httpx.AsyncClient, change: dict[str, Any], pointer: str, code: str
) -> None:
    await api.publish(registry_of(api.database))
    payload = {"url": "https://shop.example/stock.json", "dataset": "stock"}
    good = await client.post("/api/v1/jobs", json={"taskType": "SYNC", "payload": payload})
    assert (good.status_code, good.json()["taskType"]) == (201, "sync")
    bad = await client.post("/api/v1/jobs", json={"taskType": "SYNC", "payload": {**payload, **change}})
    assert pointers(check_problem(bad, 422, "invalid")) == {pointer: code}
