"""Who may do what, over HTTP."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest
from tests.support.api import MAIL, Api, check_problem, until
from tests.support.clock import FakeClock

from taskflow.db.pool import Database
from taskflow.engine.job import DEFAULT_NAMESPACE
from taskflow.identity.access import Permission
from taskflow.identity.apikeys import key as form
from taskflow.identity.apikeys import repository
from taskflow.identity.apikeys.service import CACHE_S, ApiKeys, bootstrap
from taskflow.kernel.errors import Invalid, NotFound

JOB = "/api/v1/jobs/019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11"
READS = [("GET", "/api/v1/jobs"), ("GET", JOB), ("GET", f"{JOB}/logs"), ("GET", "/api/v1/job-types")]
WRITES = [("POST", "/api/v1/jobs"), ("POST", f"{JOB}/cancel"), ("DELETE", JOB), ("POST", f"{JOB}/retry")]


@pytest.mark.covers("X-13")
async def test_every_route_of_jobs_needs_a_key(api: Api) -> None:
    async with api.client() as anonymous:
        for method, path in (*READS, *WRITES):
            for url in (path, path.replace("/api/v1", "/api")):
                response = await anonymous.request(method, url)
                check_problem(response, 401, "unauthenticated")
                assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("scope", "routes", "needed"),
    [
        ("jobs:write", READS, "'jobs:read'"),
        ("jobs:read", WRITES, "'jobs:write'"),
        ("operator", [*READS, *WRITES], "'owner'"),
    ],
)
async def test_a_key_without_the_scope_is_refused_and_told_which(
    api: Api, scope: str, routes: list[tuple[str, str]], needed: str
) -> None:
    async with api.client(await api.key(scope)) as client:
        for method, path in routes:
            assert needed in check_problem(await client.request(method, path), 403, "not_permitted")["detail"]


async def test_either_header_will_do(api: Api) -> None:
    key = await api.key()
    async with api.client() as client:
        for headers in (
            {"Authorization": f"Bearer {key}"},
            {"Authorization": f"bearer  {key}"},
            {"X-API-Key": key},
            {"X-API-Key": key, "Authorization": f"Bearer {key}"},
        ):
            assert (await client.get("/api/v1/jobs", headers=headers)).status_code == 200


async def test_a_credential_that_is_none_of_ours_is_401(api: Api) -> None:
    key = await api.key()
    wrong = form.make()
    async with api.client() as client:
        for headers, code in (
            ({"Authorization": "Bearer"}, "unauthenticated"),
            ({"Authorization": f"Basic {key}"}, "unauthenticated"),
            ({"Authorization": key}, "unauthenticated"),
            ({"Authorization": f"Bearer {key}", "X-API-Key": wrong}, "unauthenticated"),
            ({"X-API-Key": ""}, "invalid_key"),
            ({"X-API-Key": wrong}, "invalid_key"),
            ({"X-API-Key": key + "0"}, "invalid_key"),
            ({"X-API-Key": key[:-1]}, "invalid_key"),
            ({"X-API-Key": key.swapcase()}, "invalid_key"),
            ({"X-API-Key": "tf_" + "0" * 49}, "invalid_key"),
        ):
            check_problem(await client.get("/api/v1/jobs", headers=headers), 401, code)


async def test_an_expired_key_is_401(api: Api) -> None:
    key = await api.key(lifetime=timedelta(milliseconds=150))
    async with api.client(key) as client:
        assert (await client.get("/api/v1/jobs")).status_code == 200

        async def is_refused() -> bool:
            return (await client.get("/api/v1/jobs")).status_code != 200

        await until(is_refused)
        check_problem(await client.get("/api/v1/jobs"), 401, "invalid_key")


async def test_a_key_sees_its_own_namespace_only(api: Api) -> None:
    async with api.client(await api.key(namespace=uuid4())) as one, api.client(await api.key(namespace=uuid4())) as two:
        job_id = (await one.post("/api/v1/jobs", json=MAIL)).json()["jobId"]
        assert (await one.get(f"/api/v1/jobs/{job_id}")).status_code == 200
        check_problem(await two.get(f"/api/v1/jobs/{job_id}"), 404, "not_found")


# Keys ----------------------------------------------------------------------------------------------------------------


class Ticks:
    """A monotonic clock that tests move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def keys(database: Database, clock: FakeClock, ticks: Ticks) -> ApiKeys:
    return ApiKeys(database, now=clock, monotonic=ticks)


async def create(keys: ApiKeys, database: Database, **options: object) -> tuple[repository.ApiKey, str]:
    given = {"namespace": DEFAULT_NAMESPACE, "name": "test", "scopes": ["jobs:read"], **options}
    async with database.transaction() as connection:
        return await keys.create(connection=connection, **given)  # type: ignore[arg-type]


async def test_a_key_becomes_its_principal(keys: ApiKeys, database: Database) -> None:
    namespace = uuid4()
    key, plain = await create(keys, database, namespace=namespace, name="shop", scopes=["jobs:read", "jobs:write"])
    principal = await keys.authenticate(plain)
    assert principal is not None
    assert (principal.id, principal.namespace, principal.name) == (key.id, namespace, "shop")
    assert principal.permissions == {Permission.READ_JOBS, Permission.WRITE_JOBS}


async def test_the_key_itself_is_not_stored(keys: ApiKeys, database: Database) -> None:
    key, plain = await create(keys, database)
    async with database.acquire() as connection:
        rows = await connection.fetch("SELECT k::text AS row FROM taskflow.api_key k")
    assert len(rows) == 1
    assert plain[3:-4] not in rows[0]["row"]
    assert key.hint == plain[-4:]


async def test_a_revoked_key_is_forgotten_here_at_once_and_elsewhere_soon(
    keys: ApiKeys, database: Database, ticks: Ticks, clock: FakeClock
) -> None:
    elsewhere = ApiKeys(database, now=clock, monotonic=ticks)
    key, plain = await create(keys, database)
    assert await keys.authenticate(plain)
    assert await elsewhere.authenticate(plain)
    async with database.transaction() as connection:
        await keys.revoke(key.id, namespace=DEFAULT_NAMESPACE, connection=connection)
    assert await keys.authenticate(plain) is None
    ticks.now += CACHE_S - 0.01
    assert await elsewhere.authenticate(plain)
    ticks.now += 0.01
    assert await elsewhere.authenticate(plain) is None


async def test_a_key_ends_on_time_although_it_is_cached(
    keys: ApiKeys, database: Database, ticks: Ticks, clock: FakeClock
) -> None:
    _, plain = await create(keys, database, lifetime=timedelta(seconds=1))
    assert await keys.authenticate(plain)
    ticks.now += 1
    clock.advance(seconds=1)
    assert await keys.authenticate(plain) is None


async def test_a_key_of_another_namespace_cannot_be_revoked(keys: ApiKeys, database: Database) -> None:
    key, plain = await create(keys, database)
    async with database.acquire() as connection:
        with pytest.raises(NotFound):
            await keys.revoke(key.id, namespace=uuid4(), connection=connection)
        assert [item.id for item in await keys.list_keys(DEFAULT_NAMESPACE, connection=connection)] == [key.id]
        assert await keys.list_keys(uuid4(), connection=connection) == []
    assert await keys.authenticate(plain)


async def test_a_busy_key_is_looked_up_once(keys: ApiKeys, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    _, plain = await create(keys, database)
    asked = 0
    find = repository.find

    async def counted(*arguments: object, **options: object) -> object:
        nonlocal asked
        asked += 1
        return await find(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(repository, "find", counted)
    assert all(await asyncio.gather(*(keys.authenticate(plain) for _ in range(50))))
    assert asked == 1


async def test_one_callers_going_away_does_not_fail_the_others(
    keys: ApiKeys, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, plain = await create(keys, database)
    find, started = repository.find, asyncio.Event()
    hold = asyncio.Event()

    async def slow(*arguments: object, **options: object) -> object:
        started.set()
        await hold.wait()
        return await find(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(repository, "find", slow)
    first = asyncio.ensure_future(keys.authenticate(plain))
    await started.wait()
    second = asyncio.ensure_future(keys.authenticate(plain))
    await asyncio.sleep(0)
    first.cancel()
    hold.set()
    assert await second is not None


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["jobs:read", "root"]}, "/scopes/1"),
        ({"lifetime": timedelta(0)}, "/lifetime"),
    ],
)
async def test_a_key_with_a_bad_argument_is_refused(
    keys: ApiKeys, database: Database, options: dict[str, object], pointer: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await create(keys, database, **options)
    assert [error.pointer for error in refused.value.errors] == [pointer]


async def test_the_first_key_is_made_once(database: Database) -> None:
    async def first() -> str | None:
        async with database.transaction() as connection:
            return await bootstrap(connection)

    made = [key for key in await asyncio.gather(*(first() for _ in range(4))) if key]
    assert len(made) == 1
    principal = await ApiKeys(database).authenticate(made[0])
    assert principal is not None
    assert principal.permissions == set(Permission)
    async with database.transaction() as connection:
        again = await bootstrap(connection, again=True)
    assert again is not None
    assert await ApiKeys(database).authenticate(again)


async def test_a_first_start_that_fails_leaves_no_key(database: Database) -> None:
    async def fail() -> None:
        async with database.transaction() as connection:
            assert await bootstrap(connection)
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        await fail()
    async with database.transaction() as connection:
        assert await bootstrap(connection)


async def test_an_unknown_scope_allows_nothing(api: Api, client: httpx.AsyncClient) -> None:
    key = await api.key("jobs:read")
    async with api.database.acquire() as connection:
        await connection.execute("UPDATE taskflow.api_key SET scopes = '{from_the_future}' WHERE hint = $1", key[-4:])
    async with api.client(key) as other:
        check_problem(await other.get("/api/v1/jobs"), 403, "not_permitted")
