"""The OpenAPI document: complete, honest, and changed on purpose only."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs

from tests.contracts.refresh import SNAPSHOT, document, text
from tests.jobs.test_look import submit
from tests.support.api import MAIL, Api

DOCUMENT = document()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def schema(name: str) -> jsonschema_rs.Validator:
    """Return the validator of one of the document's types."""
    root = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(root, validate_formats=True, offline=True)


def check(instance: Any, name: str) -> None:
    errors = [f"{error.instance_path}: {error.message}" for error in schema(name).iter_errors(instance)]
    assert errors == []


def test_the_document_is_the_committed_one() -> None:
    assert text() == SNAPSHOT.read_text(), "the API changed; see tests/contracts/refresh.py"


def test_the_document_is_openapi_3_1_and_every_reference_leads_somewhere() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    for reference in references(DOCUMENT):
        node: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    for name in DOCUMENT["components"]["schemas"]:
        schema(name)


def test_every_operation_says_what_it_takes_gives_and_refuses() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids)) >= 12
    for method, path, operation in operations():
        where = f"{method} {path}"
        assert operation["summary"], where
        responses = operation["responses"]
        assert {"500", "503"} <= responses.keys(), where
        assert all(response["description"] for response in responses.values()), where
        if operation["security"]:
            assert {"401", "403", "429"} <= responses.keys(), where
            assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= responses["429"]["headers"].keys(), where
        if "{jobId}" in path or "{fileId}" in path:
            assert "404" in responses, where
        if "requestBody" in operation:
            [(media_type, content)] = operation["requestBody"]["content"].items()
            if media_type == "application/json":
                assert {"400", "408", "413", "415", "422"} <= responses.keys(), where
                assert content["examples"], where
            else:
                assert {"400", "415"} <= responses.keys(), where
                assert content.get("example") or content["schema"].get("properties"), where
        for status, response in responses.items():
            assert "X-Request-Id" in response["headers"], where
            media_types = response.get("content", {}).keys()
            assert media_types or status in {"204", "304"}, where
            if int(status) >= 400 and path not in {"/ready", "/health"}:
                assert media_types == {"application/problem+json"}, where


def test_unversioned_aliases_are_not_in_the_document() -> None:
    paths = set(DOCUMENT["paths"])
    assert {path for path in paths if not path.startswith("/api/v1/")} == {"/live", "/ready", "/health", "/metrics"}


def test_examples_fit_their_own_types() -> None:
    examples = 0
    for _, _, operation in operations():
        for response in operation["responses"].values():
            for content in response.get("content", {}).values():
                if "example" in content and "$ref" in content["schema"]:
                    check(content["example"], content["schema"]["$ref"].rpartition("/")[2])
                    examples += 1
        for example in operation.get("requestBody", {"content": {}})["content"].values():
            for value in example.get("examples", {}).values():
                check(value["value"], example["schema"]["$ref"].rpartition("/")[2])
                examples += 1
    assert examples >= 10


async def test_real_answers_fit_the_document(api: Api, client: httpx.AsyncClient) -> None:
    created = await client.post("/api/v1/jobs", json={**MAIL, "tags": ["a"]})
    check(created.json(), "JobView")
    job_id = await submit(client, priority="high")
    [claim] = await api.claim()
    await api.fail(claim)
    check((await client.get(f"/api/v1/jobs/{job_id}")).json(), "JobView")
    check((await client.get("/api/v1/jobs?limit=1")).json(), "JobPageView")
    check((await client.get(f"/api/v1/jobs/{job_id}/logs")).json(), "LogPageView")
    check((await client.get("/api/v1/job-types")).json(), "KindPageView")
    uploaded = await client.post("/api/v1/files", files={"file": ("a", b"x")})
    check(uploaded.json(), "FileView")
    check((await client.get("/api/v1/files")).json(), "FilePageView")
    check((await client.post(f"{uploaded.headers['location']}/link")).json(), "LinkView")
    check((await client.get("/health")).json(), "Health")
    check((await client.get("/live")).json(), "Live")
    for problem in (
        await client.post("/api/v1/jobs", json={"taskType": 1, "x": 2}),
        await client.post("/api/v1/jobs", content=b"{", headers={"Content-Type": "application/json"}),
        await client.get("/nothing"),
    ):
        check(problem.json(), "Problem")


async def test_the_document_and_the_api_agree_on_a_submit(client: httpx.AsyncClient) -> None:
    for body, valid in (
        (MAIL, True),
        ({**MAIL, "priority": "high", "retries": None}, True),
        ({**MAIL, "priority": 10}, False),
        ({**MAIL, "retries": 11}, False),
        ({**MAIL, "timeout": 0}, False),
        ({**MAIL, "colour": "red"}, False),
        ({"payload": {}}, False),
    ):
        assert schema("SubmitJob").is_valid(body) is valid, body
        assert ((await client.post("/api/v1/jobs", json=body)).status_code == 201) is valid, body


async def test_document_and_docs_need_no_key_and_no_network(api: Api) -> None:
    async with api.client() as anonymous:
        served = await anonymous.get("/openapi.json")
        assert served.json() == json.loads(SNAPSHOT.read_text())
        page = await anonymous.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in page.text
    assert "http" not in page.text.replace("http-equiv", "").partition("<style>")[0]
    for _, path, _ in operations():
        assert path in page.text
    assert "Authorization: Bearer tf_" in page.text
    assert "X-API-Key" in page.text
    assert "stable <code>code</code>;" in page.text


def test_no_field_has_a_title_made_of_its_name() -> None:
    assert "title" not in json.dumps(
        [item["schema"] for _, _, one in operations() for item in one.get("parameters", [])]
    )
    for schema in DOCUMENT["components"]["schemas"].values():
        assert all("title" not in field for field in schema.get("properties", {}).values())
