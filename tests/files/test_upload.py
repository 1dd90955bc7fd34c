"""Uploading files over HTTP: what is kept, and what is refused."""

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
import pytest
from tests.files.raw import download_raw, upload_raw
from tests.support.api import Api, check_problem, pointers

from taskflow.files import service
from taskflow.files import upload as module
from taskflow.files.spool import MAX_FILE_BYTES, Spool
from taskflow.http.problem import BodyTimeout

BOUNDARY = "b0undary"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    named = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


async def rows(api: Api) -> tuple[int, int]:
    """How many files and chunks there are."""
    async with api.database.acquire() as connection:
        return (
            await connection.fetchval("SELECT count(*) FROM taskflow.file"),
            await connection.fetchval("SELECT count(*) FROM taskflow.file_chunk"),
        )


@pytest.mark.covers("S2-14")
async def test_an_upload_is_answered_with_what_was_stored(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/v1/files", files={"file": ("photo.txt", PNG)})
    assert response.status_code == 201, response.text
    file = response.json()
    assert response.headers["location"] == f"/api/v1/files/{file['id']}"
    assert (file["name"], file["size"], file["type"]) == ("photo.txt", len(PNG), "image/png")
    assert file["sha256"] == hashlib.sha256(PNG).hexdigest()
    assert (file["jobId"], file["expiresAt"]) == (None, None)
    assert (await client.get(response.headers["location"])).json() == file
    assert (await client.get(f"/api/v1/files/{file['id']}/content")).content == PNG


async def test_every_size_comes_back_as_it_was(client: httpx.AsyncClient) -> None:
    pattern = bytes(index * 31 % 251 for index in range(1000))
    for size in (0, 1, 256 * 1024, 256 * 1024 + 1, 1024 * 1024 + 7):
        content = (pattern * (size // 1000 + 1))[:size]
        file = (await client.post("/api/v1/files", files={"file": ("f.bin", content)})).json()
        assert file["size"] == size
        assert (await client.get(f"/api/v1/files/{file['id']}/content")).content == content


async def test_a_name_is_kept_without_what_has_no_place_in_one(client: httpx.AsyncClient) -> None:
    for sent, kept in (
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\photo.jpg", "photo.jpg"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("..", "file"),
        ("übung .md", "übung .md"),
        ("x" * 300 + ".tar", "x" * 251 + ".tar"),
    ):
        body = part("file", b"x", sent) + END
        response = await client.post("/api/v1/files", content=body, headers=MULTIPART)
        assert response.json()["name"] == kept


BAD: list[tuple[bytes, int, str, dict[str, str]]] = [
    (part("file", b"x", "a.txt"), 400, "not_multipart", {}),
    (b"", 400, "not_multipart", {}),
    (b"{}", 400, "not_multipart", {}),
    (END, 422, "invalid", {"/file": "required"}),
    (part("file", b"x", "a") + part("note", b"x") + END, 422, "invalid", {"/note": "unknown_field"}),
    (part("photo", b"x" * 2000, "a.jpg") + END, 422, "invalid", {"/photo": "unknown_field"}),
    (part("retentionDays", b"3") + END, 422, "invalid", {"/file": "required"}),
    (part("file", b"x") + END, 422, "invalid", {"/file": "wrong_type"}),
    (part("file", b"x", "a") + part("file", b"y", "b") + END, 422, "invalid", {"/file": "given_twice"}),
    (part("file", b"x", "a") + part("retentionDays", b"0") + END, 422, "invalid", {"/retentionDays": "out_of_range"}),
    (part("file", b"x", "a") + part("retentionDays", b"soon") + END, 422, "invalid", {"/retentionDays": "wrong_type"}),
    (part("file", b"x", "a") + part("expiresAt", b"tomorrow") + END, 422, "invalid", {"/expiresAt": "instant"}),
    (
        part("file", b"x", "a") + part("expiresAt", b"2020-01-01T00:00:00Z") + END,
        422,
        "invalid",
        {"/expiresAt": "out_of_range"},
    ),
    (
        part("file", b"x", "a") + part("expiresAt", b"2090-01-01T00:00:00Z") + part("retentionDays", b"1") + END,
        422,
        "invalid",
        {"/expiresAt": "exclusive"},
    ),
    (part("note", b"x" * 2000) + END, 413, "too_large", {}),
    (b"".join(part(f"n{index}", b"") for index in range(11)) + END, 422, "invalid", {"": "too_many"}),
    (f"--{BOUNDARY}\r\nX: {'y' * 9000}\r\n\r\n".encode() + END, 400, "not_multipart", {}),
    (f"--{BOUNDARY}\r\n\r\nx\r\n".encode() + END, 400, "not_multipart", {}),
]


async def test_a_bad_upload_is_refused_and_leaves_nothing(api: Api, client: httpx.AsyncClient) -> None:
    for body, status, code, named in BAD:
        problem = check_problem(await client.post("/api/v1/files", content=body, headers=MULTIPART), status, code)
        assert pointers(problem) == named
        assert await rows(api) == (0, 0)


async def test_a_body_of_another_type_is_refused(client: httpx.AsyncClient) -> None:
    for content_type, status, code in (
        ("application/json", 415, "wrong_media_type"),
        ("multipart/form-data", 400, "not_multipart"),
        (f"multipart/form-data; boundary={'x' * 71}", 400, "not_multipart"),
    ):
        body = part("file", b"x", "a")
        response = await client.post("/api/v1/files", content=body, headers={"Content-Type": content_type})
        check_problem(response, status, code)


async def test_a_file_over_the_limit_is_refused_with_the_limit(
    api: Api, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await client.post(
        "/api/v1/files", content=b"", headers={**MULTIPART, "Content-Length": str(module.MAX_UPLOAD_BYTES + 1)}
    )
    assert str(MAX_FILE_BYTES) in check_problem(said, 413, "file_too_large")["detail"]
    monkeypatch.setattr(service.Files, "spool", lambda _self, **_: Spool(limit_bytes=1000))

    async def body() -> AsyncIterator[bytes]:  # of no length that could be seen before
        yield part("file", b"x" * 2000, "a") + END

    sent = await client.post("/api/v1/files", content=body(), headers=MULTIPART)
    assert "1000 bytes" in check_problem(sent, 413, "file_too_large")["detail"]
    assert await rows(api) == (0, 0)


async def test_a_client_that_leaves_in_mid_upload_leaves_nothing(api: Api) -> None:
    begun = part("file", b"x" * 2_000_000, "a")
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": begun, "more_body": True},
        {"type": "http.disconnect"},
    ]
    answered = await upload_raw(api, await api.key(), messages, MULTIPART)
    assert answered[0]["status"] == 400
    assert await rows(api) == (0, 0)


async def test_a_client_that_falls_silent_is_not_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_TIMEOUT_S", 0.05)

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(BodyTimeout):
        await module.Upload({"content-type": MULTIPART["Content-Type"]}, Spool()).read(receive)


async def test_an_upload_sent_again_with_its_key_is_one_file(api: Api, client: httpx.AsyncClient) -> None:
    async def send(content: bytes, **fields: str) -> httpx.Response:
        headers = {"Idempotency-Key": "k-1"}
        return await client.post("/api/v1/files", files={"file": ("a", content)}, data=fields, headers=headers)

    first, second = await asyncio.gather(send(b"one"), send(b"one"))
    assert first.json() == second.json()
    assert {first.headers.get("idempotency-replayed"), second.headers.get("idempotency-replayed")} == {None, "true"}
    check_problem(await send(b"two"), 422, "idempotency_key_reused")
    check_problem(await send(b"one", retentionDays="1"), 422, "idempotency_key_reused")
    assert await rows(api) == (1, 1)


async def test_more_uploads_than_the_disk_may_hold_are_told_to_wait(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskflow.files.endpoints.MAX_UPLOADS", 0)
    response = await client.post("/api/v1/files", files={"file": ("a", b"x")})
    check_problem(response, 503, "unavailable")
    assert response.headers["retry-after"] == "2"


@pytest.mark.slow
async def test_a_large_file_passes_through_little_memory(api: Api, client: httpx.AsyncClient) -> None:
    """Both ways: 32 MiB in, 32 MiB out, and never more than a few of them at a time."""
    size, piece = 32 * 1024 * 1024, bytes(64 * 1024)
    assert size < MAX_FILE_BYTES

    def messages() -> list[dict[str, Any]]:
        head = part("file", b"", "big.bin")[:-2]
        pieces = [{"type": "http.request", "body": piece, "more_body": True}] * (size // len(piece))
        last = {"type": "http.request", "body": b"\r\n" + END, "more_body": False}
        return [{"type": "http.request", "body": head, "more_body": True}, *pieces, last]

    sent = messages()
    key = await api.key()
    tracemalloc.start()
    try:
        answered = await upload_raw(api, key, sent, MULTIPART)
        assert answered[0]["status"] == 201
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
        tracemalloc.reset_peak()
        [file] = (await client.get("/api/v1/files")).json()["items"]
        received = 0
        async for message in download_raw(api, key, file["id"]):
            received += len(message.get("body", b""))
        assert received == size == file["size"]
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()
