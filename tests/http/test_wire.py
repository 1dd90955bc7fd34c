"""Bytes that are no good HTTP, against the real server: an answer or a closed connection, and it goes on to serve."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn
from tests.http.test_server import Server, key_for, start
from tests.support.api import Api

from taskflow.http import wire

GET = b"GET /live HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
KEPT = GET.replace(b"Connection: close\r\n", b"")
POST = (
    b"POST /api/v1/jobs HTTP/1.1\r\nHost: test\r\nX-API-Key: KEY\r\n"
    b"Connection: close\r\nContent-Type: application/json\r\n"
)
ORDER = b'{"taskType": "order", "payload": %b}'
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
UPGRADE = KEPT.replace(b"Host", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nHost")
START_S = 50.0  # for what a server loads before its first answer
PATIENCE_S = 10.0


def asked(path: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: test\r\nX-API-Key: KEY\r\nConnection: close\r\n\r\n" % path


def sized(body: bytes) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % len(body) + body


# What is sent → the statuses that may answer; 0 is a connection closed without an answer.
BAD: dict[str, tuple[bytes, set[int]]] = {
    "no HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", {400}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), {400}),
    "NULs": (bytes(1000), {400}),
    "no method": (b" / HTTP/1.1\r\nHost: test\r\n\r\n", {400}),
    "an unknown method": (b"FETCH /live HTTP/1.1\r\nHost: test\r\n\r\n", {400, 405}),
    "no version": (b"GET /live\r\n\r\n", {200, 400}),
    "another version": (b"GET /live HTTP/9.9\r\nHost: test\r\n\r\n", {400}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "CONNECT": (b"CONNECT 10.0.0.1:80 HTTP/1.1\r\nHost: 10.0.0.1:80\r\n\r\n", {400, 404, 405}),
    "NUL in the path": (b"GET /li\x00ve HTTP/1.1\r\nHost: test\r\n\r\n", {400}),
    "bytes in the path": (b"GET /\xff\xfe HTTP/1.1\r\nHost: test\r\n\r\n", {400}),
    "no UTF-8 in the path": (asked(b"/api/v1/queues/%ff%c0%af"), {403, 404, 422}),
    "an encoded NUL in the path": (asked(b"/api/v1/queues/a%00b"), {404, 422}),
    "an encoded NUL in a dataset": (asked(b"/api/v1/datasets/a%00b"), {404, 422}),
    "an encoded NUL in rows": (asked(b"/api/v1/datasets/a%00b/rows"), {404, 422}),
    "an encoded NUL in the query": (asked(b"/api/v1/jobs?queue=%00"), {422}),
    "bytes in the query": (asked(b"/api/v1/jobs?queue=\xff"), {400, 422}),
    "no UTF-8 in the query": (asked(b"/api/v1/jobs?queue=%ff"), {422}),
    "half a percent": (asked(b"/api/v1/jobs?queue=%"), {200, 422}),
    "a long path": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: test\r\n\r\n", {431}),
    "an endless path": (b"GET /" + b"a" * 3_000_000, {431}),
    "a huge header": (b"GET /live HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", {431}),
    "an endless header": (b"GET /live HTTP/1.1\r\nX: " + b"a" * 3_000_000, {431}),
    "many headers": (b"GET /live HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", {431}),
    "NUL in a header": (b"GET /live HTTP/1.1\r\nX: a\x00b\r\n\r\n", {400}),
    "a bare CR in a header": (b"GET /live HTTP/1.1\r\nX: a\rY: b\r\n\r\n", {400}),
    "a folded header": (b"GET /live HTTP/1.1\r\nConnection: close\r\nX: a\r\n b\r\n\r\n", {200, 400}),
    "a space before the colon": (b"GET /live HTTP/1.1\r\nX : a\r\n\r\n", {400}),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x", {400}),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n{}", {400}),
    "a signed length": (POST + b"Content-Length: +2\r\n\r\n{}", {400}),
    "a length of words": (POST + b"Content-Length: two\r\n\r\n{}", {400}),
    "an endless length": (POST + b"Content-Length: " + b"9" * 100 + b"\r\n\r\n{}", {400}),
    "a length and chunks": (CHUNKED + b"Content-Length: 4\r\n\r\n2\r\n{}\r\n0\r\n\r\n", {400}),
    "chunks and a length": (
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        {400},
    ),
    "a hidden coding": (POST + b"Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\n{}", {400}),
    "a doubled coding": (CHUNKED + b"Transfer-Encoding: identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n", {400}),
    "a chunk of no size": (CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n", {400}),
    "a chunk of a huge size": (CHUNKED + b"\r\n" + b"f" * 40 + b"\r\n{}", {400}),
    "a chunk that is longer": (CHUNKED + b"\r\n2\r\n{}{}{}\r\n0\r\n\r\n", {400}),
    "a body cut off": (POST + b"Content-Length: 100\r\n\r\n{", {0, 400}),
    "a body of bytes": (sized(b'{"taskType": "\xff\xfe"}'), {400}),
    "a surrogate": (sized(ORDER % b'{"number": 1, "note": "\\ud800"}'), {400, 422}),
    "an escaped NUL": (sized(ORDER % b'{"number": 1, "note": "a\\u0000b"}'), {422}),
    "a NUL key": (sized(b'{"a\\u0000b": 1}'), {422}),
    "a deep payload": (sized(ORDER % (b"[" * 100_000 + b"]" * 100_000)), {400, 422}),
    "deep objects": (sized(b'{"a":' * 50_000 + b"1" + b"}" * 50_000), {400, 422}),
    "a huge number": (sized(ORDER % (b'{"number": ' + b"9" * 50_000 + b"}")), {400, 422}),
    "a huge exponent": (sized(ORDER % b'{"number": 1e999999}'), {400, 422}),
    "a huge timeout": (sized(b'{"taskType": "order", "payload": {}, "timeout": 1' + b"0" * 300 + b"}"), {400, 422}),
    "NaN": (sized(ORDER % b'{"number": NaN}'), {400}),
    "a byte order mark": (sized(b"\xef\xbb\xbf{}"), {400}),
    "UTF-16": (sized("{}".encode("utf-16")), {400}),
    "XML": (sized(b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'), {400}),
}  # fmt: skip


@pytest.fixture
def server(database_url: str) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = start(listener, database_url)
        yield server
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait(10)


async def send(
    address: tuple[str, int], data: bytes, *, end: bool = False, patience_s: float = PATIENCE_S
) -> list[tuple[int, bytes]]:
    """Return (status, whole answer) of everything that comes back until the server closes."""
    reader, writer = await asyncio.open_connection(*address)
    answers: list[tuple[int, bytes]] = []

    async def write() -> None:
        try:
            writer.write(data)
            await writer.drain()
            if end:
                writer.write_eof()
        except OSError:
            pass  # it has heard enough

    writing = asyncio.create_task(write())
    try:
        async with asyncio.timeout(patience_s):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                answers.append((int(head.split()[1]), head + await reader.readexactly(length)))
    except (asyncio.IncompleteReadError, ConnectionResetError):
        return answers
    finally:
        writing.cancel()
        writer.close()


@pytest.mark.system
@pytest.mark.slow
async def test_bad_bytes_get_an_answer_or_a_closed_connection(server: Server, database_url: str) -> None:
    key = (await key_for(database_url)).encode()
    assert [status for status, _ in await send(server.address, GET, patience_s=START_S)] == [200]
    wrong = {}
    for name, (data, allowed) in BAD.items():
        try:
            answers = await send(server.address, data.replace(b"KEY", key), end=name == "a body cut off")
        except TimeoutError:
            wrong[name] = "a hang"
            continue
        if {status for status, _ in answers} - allowed or (not answers and 0 not in allowed):
            wrong[name] = str(answers)[:600]
        for _, answer in answers:
            assert b"\r\nx-request-id: " in answer.lower(), (name, answer)
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())
    assert [status for status, _ in await send(server.address, GET)] == [200]


@pytest.fixture
async def near(api: Api) -> AsyncIterator[tuple[str, int]]:
    """The same protocol in this process: the address where it listens."""
    config = uvicorn.Config(api.app, lifespan="off", log_config=None)
    config.load()
    state = uvicorn.server.ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: wire.BoundedProtocol(config, state, {}), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[:2]
        for connection in list(state.connections):
            connection.shutdown()


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (KEPT * 3 + GET, [200] * 4),
        (b"\r\n" * 40_000 + GET, [200]),
        (KEPT + b"\0\0\r\n\r\n", [200]),  # the good one gets its own answer
        (UPGRADE + GET, [200, 200]),  # what we do not speak is ignored, and the rest is not lost
    ],
)
async def test_requests_sent_at_once_are_answered_in_order(
    near: tuple[str, int], data: bytes, statuses: list[int]
) -> None:
    assert [status for status, _ in await send(near, data)] == statuses


@pytest.mark.parametrize(
    ("data", "statuses"), [(b"", []), (b"GET / HT", [408]), (KEPT + b"GET", [200, 408]), (b"\r\n", [])]
)
async def test_a_head_that_does_not_come_ends_the_connection(
    near: tuple[str, int], data: bytes, statuses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "HEAD_TIMEOUT_S", 0.2)
    assert [status for status, _ in await send(near, data)] == statuses


async def test_large_requests_that_follow_each_other_are_no_large_head(near: tuple[str, int], api: Api) -> None:
    key = (await api.key()).encode()
    order = sized(ORDER % (b'{"number": 1, "note": "%b"}' % (b"x" * 100_000))).replace(b"KEY", key)
    kept = order.replace(b"Connection: close\r\n", b"")
    assert [status for status, _ in await send(near, kept * 5 + order)] == [201] * 6
