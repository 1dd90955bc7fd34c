"""Reading files over HTTP: whole, in parts, by a link, and by nobody who may not."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from tests.files.raw import download_raw
from tests.support.api import ORIGIN, SECRET, Api, check_problem, pointers
from tests.support.clock import FakeClock

from taskflow.apps.http import create_app
from taskflow.db.pool import Database
from taskflow.engine.job import DEFAULT_NAMESPACE
from taskflow.files.detection import media_type
from taskflow.files.link import Links
from taskflow.files.repository import File
from taskflow.files.service import PRUNE_BATCH, Files
from taskflow.http.secret import RootSecret
from taskflow.kernel.errors import NotFound

CONTENT = bytes(range(256)) * 2048  # two chunks


async def put(
    client: httpx.AsyncClient, content: bytes = CONTENT, name: str = "f.bin", **fields: str
) -> dict[str, Any]:
    response = await client.post("/api/v1/files", files={"file": (name, content)}, data=fields)
    assert response.status_code == 201, response.text
    file: dict[str, Any] = response.json()
    return file


def content_of(file: dict[str, Any]) -> str:
    return f"/api/v1/files/{file['id']}/content"


async def test_the_content_is_saved_and_never_shown(client: httpx.AsyncClient) -> None:
    """What a stranger uploaded does not run in a browser on our origin."""
    file = await put(client, b"<html><script>alert(1)</script></html>", 'ü;"%.html')
    response = await client.get(content_of(file))
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    disposition = response.headers["content-disposition"]
    assert disposition == "attachment; filename=\"_;_22_.html\"; filename*=UTF-8''%C3%BC%3B%2522%25.html"


async def test_one_range_is_answered_with_that_part(client: httpx.AsyncClient) -> None:
    file = await put(client)
    last = len(CONTENT) - 1
    for asked, first, end in (
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=262100-262200", 262100, 262200),
        (f"bytes={last}-", last, last),
        ("bytes=500-99999999", 500, last),
        ("bytes=-10", last - 9, last),
        ("bytes=-99999999", 0, last),
    ):
        response = await client.get(content_of(file), headers={"Range": asked})
        assert response.status_code == 206, asked
        assert response.content == CONTENT[first : end + 1], asked
        assert response.headers["content-range"] == f"bytes {first}-{end}/{len(CONTENT)}"
        assert response.headers["content-length"] == str(end - first + 1)


async def test_a_range_that_is_none_or_of_other_content_is_ignored(client: httpx.AsyncClient) -> None:
    file = await put(client)
    for headers in (
        {"Range": "bytes=0-1,5-6"},
        {"Range": "bytes=-"},
        {"Range": "bytes=9-3"},
        {"Range": "bytes=a-b"},
        {"Range": "lines=1-2"},
        {"Range": "bytes=0-1", "If-Range": '"other"'},
        {"Range": "bytes=0-1", "If-Range": "Mon, 23 Nov 2026 09:30:00 GMT"},
    ):
        response = await client.get(content_of(file), headers=headers)
        assert (response.status_code, len(response.content)) == (200, len(CONTENT)), headers
    headers = {"Range": "bytes=0-1", "If-Range": f'"{file["sha256"]}"'}
    assert (await client.get(content_of(file), headers=headers)).status_code == 206


async def test_a_range_behind_the_end_is_416_with_the_size(client: httpx.AsyncClient) -> None:
    for content in (CONTENT, b""):
        file = await put(client, content)
        for asked in (f"bytes={len(content)}-", "bytes=-0"):
            response = await client.get(content_of(file), headers={"Range": asked})
            assert check_problem(response, 416, "range_not_satisfiable")["size"] == len(content)
            assert response.headers["content-range"] == f"bytes */{len(content)}"


async def test_a_client_that_has_the_content_is_not_sent_it_again(client: httpx.AsyncClient) -> None:
    file = await put(client)
    etag = (await client.get(content_of(file))).headers["etag"]
    assert etag == f'"{file["sha256"]}"'
    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        response = await client.get(content_of(file), headers={"If-None-Match": known})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)
    assert (await client.get(content_of(file), headers={"If-None-Match": '"x"'})).status_code == 200


async def test_a_head_says_all_and_reads_nothing(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    file = await put(client)
    monkeypatch.setattr(Files, "open", None)
    response = await client.head(content_of(file))
    assert (response.status_code, response.headers["content-length"]) == (200, str(len(CONTENT)))


async def test_a_file_deleted_in_mid_download_breaks_the_download_off(api: Api, client: httpx.AsyncClient) -> None:
    """The client must not take the part that it got for the whole."""
    file = await put(client)
    async with api.database.acquire() as connection:
        await connection.execute("DELETE FROM taskflow.file_chunk WHERE number = 1")
    messages = [message async for message in download_raw(api, await api.key(), file["id"])]
    assert messages[0]["status"] == 200
    assert b"".join(message["body"] for message in messages[1:]) == CONTENT[: 256 * 1024]
    assert messages[-1]["more_body"]


# Links ---------------------------------------------------------------------------------------------------------------


async def test_a_link_works_without_a_key_until_it_expires(api: Api, client: httpx.AsyncClient) -> None:
    file = await put(client)
    link = (await client.post(f"/api/v1/files/{file['id']}/link")).json()
    assert link["url"].startswith(f"{ORIGIN}{content_of(file)}?")
    left = datetime.fromisoformat(link["expiresAt"]) - datetime.now(UTC)
    assert timedelta(minutes=4, seconds=55) < left <= timedelta(minutes=5)
    async with api.client() as anonymous:
        response = await anonymous.get(link["url"], headers={"Range": "bytes=0-9"})
        assert (response.status_code, response.content) == (206, CONTENT[:10])
        past = Links(RootSecret(SECRET)).sign(UUID(file["id"]), datetime.now(UTC))
        check_problem(await anonymous.get(content_of(file), params=past), 403, "link_expired")
        await client.delete(f"/api/v1/files/{file['id']}")
        check_problem(await anonymous.get(link["url"]), 404, "not_found")


async def test_a_link_begins_with_the_public_origin_whatever_the_request_names(
    api: Api, client: httpx.AsyncClient
) -> None:
    """Behind a proxy with TLS the API sees plain HTTP, and `Host` is anybody's word."""
    file = await put(client, b"abc")
    app = create_app(api.database, secret=SECRET, public_url="https://tasks.example.org:8443")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://inside", headers=client.headers) as inside:
        link = (await inside.post(f"/api/v1/files/{file['id']}/link", headers={"Host": "evil.example"})).json()
    assert link["url"].startswith(f"https://tasks.example.org:8443{content_of(file)}?expires=")


async def test_a_link_opens_nothing_but_its_own_file_until_its_own_time(api: Api, client: httpx.AsyncClient) -> None:
    file, other = await put(client), await put(client)
    link = (await client.post(f"/api/v1/files/{file['id']}/link", json={"expiresIn": 60_000})).json()
    good = {name: values[0] for name, values in parse_qs(urlsplit(link["url"]).query).items()}
    foreign = Links(RootSecret(b"another secret, thirty-two bytes long")).sign(UUID(file["id"]), datetime.now(UTC))
    async with api.client() as anonymous:
        check_problem(await anonymous.get(content_of(other), params=good), 403, "bad_link")
        for wrong in (
            {"expires": str(int(good["expires"]) + 1)},
            {"expires": "later"},
            {"signature": good["signature"][:-1] + ("A" if good["signature"][-1] != "A" else "B")},
            {"signature": "ü"},
            {"signature": ""},
            foreign,
        ):
            check_problem(await anonymous.get(content_of(file), params={**good, **wrong}), 403, "bad_link")
        check_problem(await anonymous.get(content_of(file), params={"expires": good["expires"]}), 403, "bad_link")
        for path in (f"/api/v1/files/{file['id']}", "/api/v1/files"):
            check_problem(await anonymous.get(path, params=good), 401, "unauthenticated")


async def test_a_link_is_for_a_day_at_most_and_not_longer_than_its_file(client: httpx.AsyncClient) -> None:
    ends = datetime.now(UTC) + timedelta(minutes=2)
    file = await put(client, expiresAt=ends.isoformat())
    link = (await client.post(f"/api/v1/files/{file['id']}/link")).json()
    assert datetime.fromisoformat(link["expiresAt"]) <= ends
    path = f"/api/v1/files/{file['id']}/link"
    for body, code in (
        ({"expiresIn": 999}, "out_of_range"),
        ({"expiresIn": 86_400_001}, "out_of_range"),
        ({"expiresIn": "1h"}, "wrong_type"),
    ):
        assert pointers(check_problem(await client.post(path, json=body), 422, "invalid")) == {"/expiresIn": code}
    response = await client.post(path, headers={"Idempotency-Key": "x"})
    check_problem(response, 400, "bad_idempotency_key")


# Who may -------------------------------------------------------------------------------------------------------------


async def test_files_of_another_namespace_do_not_exist(api: Api, client: httpx.AsyncClient) -> None:
    file = await put(client)
    path = f"/api/v1/files/{file['id']}"
    routes = (("GET", path), ("GET", f"{path}/content"), ("POST", f"{path}/link"), ("DELETE", path))
    async with api.client(await api.key(namespace=uuid4())) as stranger:
        for method, url in routes:
            check_problem(await stranger.request(method, url), 404, "not_found")
        assert (await stranger.get("/api/v1/files")).json()["items"] == []
    for method, url in routes:
        check_problem(await client.request(method, url.replace(file["id"], "nothing")), 404, "not_found")
    assert (await client.get(path)).status_code == 200


async def test_each_route_needs_a_key_with_its_scope(api: Api, client: httpx.AsyncClient) -> None:
    file = await put(client)
    path = f"/api/v1/files/{file['id']}"
    reads = [("GET", path), ("GET", f"{path}/content"), ("POST", f"{path}/link"), ("GET", "/api/v1/files")]
    writes = [("DELETE", path), ("POST", "/api/v1/files")]
    for scope, routes, needed in (
        ("files:write", reads, "'files:read'"),
        ("files:read", writes, "'files:write'"),
        ("jobs:write", [*reads, *writes], "'owner'"),
    ):
        async with api.client(await api.key(scope)) as limited:
            for method, url in routes:
                assert needed in check_problem(await limited.request(method, url), 403, "not_permitted")["detail"]
    async with api.client() as anonymous:
        for method, url in (*reads, *writes):
            check_problem(await anonymous.request(method, url), 401, "unauthenticated")


async def test_a_list_goes_on_where_it_ended(client: httpx.AsyncClient) -> None:
    made = [(await put(client, b"x"))["id"] for _ in range(5)]
    seen, cursor = [], None
    while True:
        page = (await client.get("/api/v1/files", params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        seen += [file["id"] for file in page["items"]]
        if (cursor := page["nextCursor"]) is None:
            break
    assert seen == made[::-1]
    check_problem(await client.get("/api/v1/files?limit=0"), 422, "invalid")
    check_problem(await client.get("/api/v1/files?cursor=x"), 422, "invalid")


# Retention -----------------------------------------------------------------------------------------------------------


async def keep(files: Files, content: bytes = b"x", **options: Any) -> File:
    with files.spool() as spool:
        await spool.write(content)
        await spool.finish()
        return await files.keep(spool, **{"namespace": DEFAULT_NAMESPACE, "name": "f", **options})


async def test_a_file_is_gone_when_its_time_is_up_and_its_bytes_soon_after(
    files: Files, database: Database, clock: FakeClock
) -> None:
    kept = await keep(files)
    short = [await keep(files, retention=timedelta(days=1)) for _ in range(PRUNE_BATCH + 1)]
    assert await files.prune() == 0
    clock.advance(seconds=24 * 3600)
    with pytest.raises(NotFound):
        await files.get_file(short[0].id, namespace=DEFAULT_NAMESPACE)
    with pytest.raises(NotFound):
        await files.delete(short[0].id, namespace=DEFAULT_NAMESPACE)
    assert [file.id for file in await files.list_files(DEFAULT_NAMESPACE, limit=50)] == [kept.id]
    assert [await files.prune(), await files.prune(), await files.prune()] == [PRUNE_BATCH, 1, 0]
    async with database.acquire() as connection:
        left = await connection.fetch("SELECT DISTINCT file_id FROM taskflow.file_chunk")
    assert [row["file_id"] for row in left] == [kept.id]


async def test_a_deleted_file_leaves_no_bytes(api: Api, client: httpx.AsyncClient) -> None:
    file = await put(client)
    assert (await client.delete(f"/api/v1/files/{file['id']}")).status_code == 204
    check_problem(await client.delete(f"/api/v1/files/{file['id']}"), 404, "not_found")
    async with api.database.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM taskflow.file_chunk") == 0


async def test_a_job_that_makes_the_same_again_gets_the_same_file(files: Files) -> None:
    """An attempt that ran twice leaves one file; another content, or another job, is another file."""
    job_id = uuid4()
    first = await keep(files, b"report", job_id=job_id)
    assert await keep(files, b"report", job_id=job_id) == first
    others = [await keep(files, b"other", job_id=job_id), await keep(files, b"report", job_id=uuid4())]
    assert first.id not in {file.id for file in others}
    assert len(await files.list_files(DEFAULT_NAMESPACE, limit=9)) == 3


async def test_a_write_that_fails_on_the_way_leaves_nothing(files: Files, database: Database) -> None:
    def fail(_size: int) -> None:
        raise RuntimeError("the process died here")

    with pytest.raises(RuntimeError, match="died"):
        await keep(files, bytes(3_000_000), on_kept=fail)
    async with database.acquire() as connection:
        assert await connection.fetchval("SELECT count(*) FROM taskflow.file") == 0
        assert await connection.fetchval("SELECT count(*) FROM taskflow.file_chunk") == 0


# Types ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"XXXX\x00\x00\x00\x00WEBP\x00", "application/octet-stream"),
        (b"\x00\x00\x00\x1cftypavif\x00", "image/avif"),
        (b"%PDF-1.7\n\xff", "application/pdf"),
        (
            b"PK\x03\x04\x00\x00word/document.xml",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        (b"PK\x03\x04\x00\x00", "application/zip"),
        (b"\x1f\x8b\x08", "application/gzip"),
        (b"\n <!DOCTYPE html><p>", "text/html"),
        (b"<?xml version='1.0'?><svg onload=x>", "image/svg+xml"),
        (b"<?xml version='1.0'?><a/>", "application/xml"),
        (b"BEGIN:VCALENDAR\r\n", "text/calendar"),
        (b'{"a": 1}', "application/json"),
        (b'{"a": 1}\n{"a": 2}\n', "application/x-ndjson"),
        (b"{not json", "text/plain"),
        (b"a,b\n1,2\n", "text/csv"),
        (b"Dear Ada,\nit works.\n", "text/plain"),
        ("\ufeffa;b ü".encode(), "text/plain"),
        (b"caf\xe9", "application/octet-stream"),
        (b"a\x00b", "application/octet-stream"),
        (b"", "application/octet-stream"),
    ],
)
def test_a_type_is_told_by_the_content(head: bytes, found: str) -> None:
    assert media_type(head, whole=True) == found


def test_a_head_that_ends_in_the_middle_is_still_told() -> None:
    assert media_type("ü".encode()[:1] + b"", whole=False) == "text/plain"
    assert media_type(b'[{"a": "cut of', whole=False) == "application/json"
    assert media_type(b'{"a": 1}\n{"a": ', whole=False) == "text/plain"
    assert media_type(b"a,b\n1,2\n3", whole=False) == "text/csv"
