"""The applications in docs/examples do what they say, with a real worker in the test's loop."""

import ast
import asyncio
import importlib
import inspect
import re
import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import asyncpg
import httpx
import pytest
from tests.support.reference import ROOT
from tests.support.waiting import eventually
from tests.support.workers import working

from taskflow import Handle, JobContext, JobFunction, TaskFlow
from taskflow.testing import Jobs

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What the examples find in their environment."""
    monkeypatch.setenv("TASKFLOW_DATABASE_URL", database_url)
    monkeypatch.setenv("DATABASE", database_url.replace("postgresql://", "postgresql+asyncpg://"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield database_url
    for name in ("jobs", "shop", "test_shop"):
        sys.modules.pop(name, None)


def load(folder: str, name: str) -> ModuleType:
    sys.path.insert(0, str(EXAMPLES / folder))
    return importlib.import_module(name)


def worker(app: TaskFlow, url: str) -> Any:
    for kind in app.registry.isolated_by("process"):  # the test's process is one, too
        object.__setattr__(app.registry[kind], "isolation", "thread")
    return working(url, app.registry, queues=app.registry.queues, lifespan=app.open_state)


async def test_the_script_prints_its_result(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = load("plain", "jobs")
    async with worker(jobs.app, database):
        await jobs.main()
    job_id, result = capsys.readouterr().out.splitlines()
    assert len(job_id) == 36
    assert result == "Count(words=5, longest='quick')"


@pytest.fixture
async def order_table(database: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE shop_order (id serial PRIMARY KEY, item text, confirmed boolean)")
    yield
    await connection.execute("DROP TABLE shop_order")
    await connection.close()


@pytest.mark.slow
async def test_the_fastapi_shop_confirms_an_order(database: str) -> None:
    shop = load("fastapi", "shop")
    transport = httpx.ASGITransport(shop.web)
    async with (
        worker(shop.jobs, database),
        shop.lifespan(shop.web),
        httpx.AsyncClient(transport=transport, base_url="http://shop") as client,
    ):
        answer = await client.post("/orders", json={"item": "lamp"})
        assert answer.status_code == 201

        async def confirmed() -> bool:
            found = (await client.get(f"/jobs/{answer.json()['job']}")).json()
            return bool(found == {"status": "completed", "result": "confirmed: lamp"})

        await eventually("the confirmation", confirmed)
    connection = await asyncpg.connect(database)
    assert await connection.fetchval("SELECT confirmed FROM shop_order") is True
    await connection.execute("DROP TABLE shop_order")
    await connection.close()


async def test_the_fastapi_shops_own_test_passes(database: str, order_table: None) -> None:
    load("fastapi", "shop")
    own = load("fastapi", "test_shop")
    await own.test_an_order_is_confirmed(None)


@pytest.mark.slow
async def test_the_flask_shop_greets_and_says_what_is_wrong(database: str) -> None:
    shop = load("flask", "shop")
    client = shop.web.test_client()

    def visit() -> str:
        wrong = client.post("/people", json={"name": "Eve", "language": 5})
        assert (wrong.status_code, wrong.json) == (422, {"errors": {"language": "expected `str`, got `int`"}})
        return str(client.post("/people", json={"name": "Ada", "language": "de"}).json["job"])

    async with worker(shop.jobs, database):
        job_id = await asyncio.to_thread(visit)
        done = lambda: client.get(f"/jobs/{job_id}").json == {"status": "completed", "result": "Hallo, Ada!"}  # noqa: E731
        await eventually("the greeting", lambda: asyncio.to_thread(done))
    shop.jobs.close_sync()
    connection = await asyncpg.connect(database)
    assert [row["name"] for row in await connection.fetch("SELECT name FROM person")] == ["Ada"]
    await connection.execute("DROP TABLE person")
    await connection.close()


PAGES = ("write-a-job", "submit-in-your-transaction", "test-your-jobs")


@pytest.mark.parametrize("page", PAGES)
def test_samples_in_the_how_to_pages_are_python_and_name_what_there_is(page: str) -> None:
    """Each sample compiles, and what it imports from us, or calls on a job, its options, a handle or an app, exists."""
    text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text()
    samples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert samples
    for sample in samples:
        tree = compile(sample, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
        assert isinstance(tree, ast.Module)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []
    known = {name for kind in (TaskFlow, JobFunction, Handle, JobContext, Jobs) for name in dir(kind)}
    methods = re.findall(r"`?(?:await )?(?:app|handle|thumbnail|confirm|ctx|jobs)\.([a-z_]+)\(", text)
    assert set(methods) - known == set()
    options = {name for names in re.findall(r"options\(([^)]*)\)", text) for name in re.findall(r"(\w+)=", names)}
    assert options - set(inspect.signature(JobFunction.options).parameters) == set()
