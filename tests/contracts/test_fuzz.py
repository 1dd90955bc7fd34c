"""No request gets an answer that the OpenAPI document does not promise. More of them: `make test-fuzz`."""

import asyncio
import random
import re

import httpx
import pytest

from tests.contracts.fuzzing import NOBODY, OWNER, Fuzzer, only_the_database, operations
from tests.contracts.refresh import document
from tests.support.api import MAIL, Api

DOCUMENT = document()
TAGS = sorted({operation["tags"][0] for methods in DOCUMENT["paths"].values() for operation in methods.values()})


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("tag", TAGS)
async def test_every_answer_is_one_that_the_document_names(
    tag: str, api: Api, database_url: str, request: pytest.FixtureRequest
) -> None:
    number = request.config.getoption("--fuzz-seed")
    number = random.SystemRandom().randrange(10**6) if number == "random" else int(number)
    examples = int(request.config.getoption("--fuzz-examples"))
    print(f"--fuzz-seed={number} --fuzz-examples={examples}")  # noqa: T201 -- `make test-fuzz` shows it
    async with (
        api.client(await api.key()) as owner,
        api.client(await api.key("files:read")) as reader,
        api.client(address="192.0.2.7") as nobody,
    ):
        fuzzer = Fuzzer(api, asyncio.get_running_loop(), {OWNER: owner, "a reader": reader, NOBODY: nobody})
        fuzzer.known["queues/name"] = ["orders", "builtin"]
        for kind in ({"taskType": "order", "payload": {"number": 1}}, {**MAIL, "callbackUrl": "http://127.0.0.1:9/"}):
            fuzzer.learn(await owner.post("/api/v1/jobs", json=kind))
        fuzzer.learn(await owner.post("/api/v1/files", files={"file": ("a.txt", b"text")}))
        fuzzer.learn(
            await owner.post(
                "/api/v1/schedules",
                json={"name": "nightly", "cron": "0 3 * * *", "taskType": "order", "payload": {"number": 1}},
            )
        )

        def ask() -> None:
            for operation in operations(DOCUMENT):
                if tag in (operation.tags or ()):
                    fuzzer.run(operation, examples=examples, number=number)

        with only_the_database(database_url) as refused:
            await asyncio.to_thread(ask)
    print(fuzzer.statuses)  # noqa: T201
    assert not fuzzer.found, "\n\n".join([f"--fuzz-seed={number}", *fuzzer.found.values()])
    assert refused == []


def pattern(path: str) -> str:
    """What paths *path* stands for; names of queues may hold slashes."""
    name = ".+" if path.startswith("/api/v1/queues/") else "[^/]+"
    return re.sub(r"\{\w+\}", lambda match: name if match[0] == "{name}" else "[^/]+", path)


async def test_methods_that_a_path_does_not_take_are_405(client: httpx.AsyncClient) -> None:
    for path in DOCUMENT["paths"]:
        there = {
            method.upper()
            for other, methods in DOCUMENT["paths"].items()
            # `/jobs/batch` could be a job's path as well
            if re.fullmatch(pattern(other), path)
            for method in methods
        }
        there |= {"HEAD"} if "GET" in there else set()
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FETCH"} - there:
            answer = await client.request(method, path)
            assert answer.status_code == 405, (method, path)
            assert set(answer.headers["allow"].split(", ")) >= there, (method, path)
            assert answer.headers["x-request-id"]
