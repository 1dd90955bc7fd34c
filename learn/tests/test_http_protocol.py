"""HTTP/1.1 on the wire, with bytes that no client library would send."""

import asyncio
import json
from collections.abc import Callable, Iterator
from io import StringIO

import pytest

from learn_client import GET_HEALTH, PATIENCE_S, USER, RawConnection, request
from taskflow_learn.config import Settings
from taskflow_learn.log import Logger
from taskflow_learn.server import Server

HEAD = b"POST /tasks HTTP/1.1\r\nHost: test\r\nAuthorization: secret-admin-123\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


async def test_requests_on_one_connection_are_answered_in_order(raw: RawConnection) -> None:
    """Pipelining: three requests in one packet, three answers, in the same order."""
    await raw.send(GET_HEALTH + request("GET", "/tasks/count") + request("GET", "/nowhere"))
    statuses = [(await raw.answer()).status for _ in range(3)]
    assert statuses == [200, 200, 404]


async def test_a_request_may_arrive_byte_by_byte(raw: RawConnection) -> None:
    body = b'{"title":"slow but steady"}'
    for byte in request("POST", "/tasks", body=body):
        await raw.send(bytes([byte]))
        await asyncio.sleep(0)
    answer = await raw.answer()
    assert answer.status == 201
    assert json.loads(answer.body)["title"] == "slow but steady"


async def test_a_chunked_body_is_put_together(raw: RawConnection) -> None:
    """Sizes in any case, extensions and trailers: all legal, the last two unread."""
    await raw.send(CHUNKED + b'A;note="x"\r\n{"title":"\r\n')
    await raw.send(b'5\r\nhello\r\n2\r\n"}\r\n0\r\nTrailer: ignored\r\n\r\n' + GET_HEALTH)
    answer = await raw.answer()
    assert answer.status == 201
    assert json.loads(answer.body)["title"] == "hello"
    assert (await raw.answer()).status == 200  # the next request begins exactly after the trailers


@pytest.mark.parametrize(
    "body",
    [
        b"xyz\r\n",
        b"-1\r\n\r\n",
        b"0x5\r\nhello\r\n",
        b"5\r\nhello!!\r\n",
        b"ffffffffff\r\n",
        b"5" + b" " * 2_000,
        b"\r\n",
    ],
    ids=["no-number", "negative", "prefixed", "longer-than-said", "too-many-digits", "endless-line", "empty"],
)
async def test_a_broken_chunk_is_400_and_the_end(raw: RawConnection, body: bytes) -> None:
    answer = await raw.ask(CHUNKED + body)
    assert answer.status == 400
    assert answer.error["code"] == "BAD_REQUEST"
    assert answer.headers["connection"] == "close"
    assert await raw.rest() == b""


@pytest.mark.covers("S1-71")
async def test_a_body_over_the_limit_is_413_before_it_is_sent(raw: RawConnection) -> None:
    """The announcement is enough: not a byte of the megabyte is read."""
    answer = await raw.ask(HEAD + b"Content-Length: 1048577\r\n\r\n")
    assert answer.status == 413
    assert answer.error["details"] == {"field": "body", "max": 1_048_576}
    assert await raw.rest() == b""


async def test_chunks_over_the_limit_are_413_too(raw: RawConnection) -> None:
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    answer = await raw.ask(CHUNKED + chunk * 17)
    assert answer.status == 413


async def test_a_refused_client_still_gets_its_answer_while_it_sends(raw: RawConnection) -> None:
    """Closing with unread bytes would reset the connection, and the reset could overtake the answer."""
    answer = await raw.ask(HEAD + b"Content-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)
    assert answer.status == 413
    assert await raw.rest() == b""


async def test_a_body_of_exactly_the_limit_is_read(raw: RawConnection) -> None:
    body = b'{"title":"a"}'.ljust(1_048_576)
    assert (await raw.ask(request("POST", "/tasks", body=body))).status == 201


async def test_who_may_not_write_is_refused_without_sending_the_body(raw: RawConnection) -> None:
    """The client waits for 100-continue; the answer is 401, and the body never travels."""
    answer = await raw.ask(request("POST", "/tasks", "Content-Length: 900000", "Expect: 100-continue", token=None))
    assert answer.status == 401
    assert answer.headers["connection"] == "close"


async def test_100_continue_comes_before_the_body(raw: RawConnection) -> None:
    body = b'{"title":"expected"}'
    await raw.send(request("POST", "/tasks", f"Content-Length: {len(body)}", "Expect: 100-continue"))
    interim = await raw.answer(has_body=False)
    assert interim.status == 100
    assert (await raw.ask(body)).status == 201


async def test_another_expectation_is_417(raw: RawConnection) -> None:
    assert (await raw.ask(request("POST", "/tasks", "Expect: a-miracle", body=b"{}"))).status == 417


async def test_head_is_get_without_a_body(raw: RawConnection) -> None:
    await raw.send(request("HEAD", "/health") + request("HEAD", "/tasks/export.csv") + GET_HEALTH)
    head = await raw.answer(has_body=False)
    assert head.status == 200
    assert int(head.headers["content-length"]) > 0
    assert (await raw.answer(has_body=False)).headers["content-type"].startswith("text/csv")
    assert json.loads((await raw.answer()).body)["status"] == "healthy"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, "BAD_REQUEST"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "BAD_REQUEST"),  # the first bytes of TLS
        (b"GET / HTTP/1.1\r\n\r\n", 400, "BAD_REQUEST"),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505, "VERSION_NOT_SUPPORTED"),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "URI_TOO_LONG"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000, 431, "HEADERS_TOO_LARGE"),
        (b"a" * 20_000, 431, "HEADERS_TOO_LARGE"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "NOT_IMPLEMENTED"),
    ],
    ids=["nonsense", "tls", "no-host", "version", "long-target", "long-header", "no-line-at-all", "coding"],
)
async def test_malformed_bytes_are_answered_and_the_connection_ends(
    raw: RawConnection, data: bytes, status: int, code: str
) -> None:
    answer = await raw.ask(data)
    assert answer.status == status
    assert answer.error["code"] == code
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"] == answer.error["requestId"]
    assert await raw.rest() == b""


async def test_a_client_that_is_done_sending_still_gets_its_answer(raw: RawConnection) -> None:
    """Half-closed: the client will send no more, but it listens."""
    await raw.send(GET_HEALTH)
    raw.writer.write_eof()
    assert (await raw.answer()).status == 200
    assert await raw.rest() == b""


@pytest.mark.parametrize(
    "data",
    [b"GET /health HTT", HEAD + b'Content-Length: 100\r\n\r\n{"title"', CHUNKED + b"5\r\nhel"],
    ids=["head", "body", "chunk"],
)
async def test_a_client_that_stops_in_the_middle_is_told_so(raw: RawConnection, data: bytes) -> None:
    await raw.send(data)
    raw.writer.write_eof()
    assert (await raw.answer()).status == 400
    assert await raw.rest() == b""


async def test_a_client_that_says_nothing_is_let_go_without_a_word(raw: RawConnection) -> None:
    raw.writer.write_eof()
    assert await raw.rest() == b""


async def test_http_1_0_gets_its_body_without_chunks(raw: RawConnection) -> None:
    await raw.send(b"GET /demo/stream/ndjson?count=3 HTTP/1.0\r\nAuthorization: secret-user-123\r\n\r\n")
    head = await raw.answer(has_body=False)
    assert "transfer-encoding" not in head.headers
    assert (await raw.rest()).count(b"\n") == 3


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_body_that_breaks_off_does_not_pass_for_whole(
    raw: RawConnection, log_text: StringIO, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    def broken(rows: Iterator[str]) -> Iterator[bytes]:
        yield b"a piece"
        raise TimeoutError(f"no more of {next(rows)}")

    monkeypatch.setattr("taskflow_learn.routes.demo.in_pieces", broken)
    await raw.send(f"GET /demo/stream/csv HTTP/{version}\r\nHost: x\r\nAuthorization: {USER}\r\n\r\n".encode())
    with pytest.raises(ConnectionResetError):
        await raw.rest()
    lines = log_text.getvalue().splitlines()
    (received,) = [line for line in lines if "Request received" in line]
    (line,) = [line for line in lines if "Stream broke" in line]
    assert json.loads(received[received.index("{") :])["requestId"] in line
    assert "TimeoutError('no more of " in line
    assert "in broken" in line


async def test_connection_close_is_obeyed(raw: RawConnection) -> None:
    answer = await raw.ask(request("GET", "/health", "Connection: close"))
    assert answer.headers["connection"] == "close"
    assert await raw.rest() == b""


async def test_an_empty_line_before_a_request_is_forgiven(raw: RawConnection) -> None:
    assert (await raw.ask(b"\r\n" + GET_HEALTH)).status == 200


async def test_a_smuggled_request_is_not_answered(raw: RawConnection) -> None:
    """What a proxy would take for a body must not become a second request."""
    answer = await raw.ask(HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET_HEALTH)
    assert answer.status == 400
    assert await raw.rest() == b""


class TestTimeouts:
    """Short ones, so that nobody has to wait for them."""

    @pytest.fixture
    def settings(self, change: Callable[..., Settings]) -> Settings:
        return change(head_timeout_ms=60, body_timeout_ms=60, keep_alive_timeout_ms=150)

    async def test_a_slow_loris_is_cut_off(self, raw: RawConnection) -> None:
        """A byte now and then keeps no connection: the deadline is for the whole head."""

        async def drip() -> None:
            for byte in b"GET /health HTTP/1.1\r\nX: " + b"a" * 10_000:
                raw.writer.write(bytes([byte]))
                await asyncio.sleep(0.005)

        async with asyncio.TaskGroup() as group:
            dripping = group.create_task(drip())
            answer = await raw.answer()
            dripping.cancel()
        assert answer.status == 408
        assert answer.error["code"] == "REQUEST_TIMEOUT"

    async def test_a_body_that_does_not_come_is_408(self, raw: RawConnection) -> None:
        answer = await raw.ask(HEAD + b'Content-Length: 100\r\n\r\n{"title"')
        assert answer.status == 408
        assert "body" in answer.error["message"]

    async def test_an_idle_connection_is_closed_without_a_word(self, raw: RawConnection) -> None:
        """A 408 here could be taken for the answer to a request that is just on its way."""
        assert (await raw.ask(GET_HEALTH)).status == 200
        assert await raw.rest() == b""


class TestAClientThatDoesNotRead:
    @pytest.fixture
    def settings(self, change: Callable[..., Settings]) -> Settings:
        return change(send_timeout_ms=100)

    @pytest.mark.covers("S1-20", "S1-47")
    async def test_is_cut_off_and_its_stream_ends(self, raw: RawConnection, server: Server) -> None:
        """Back-pressure stops the generator; the deadline stops the wait."""
        raw.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await raw.send(request("GET", "/demo/stream/csv?count=300000"))
        _, unfinished = await asyncio.wait(server._connections, timeout=PATIENCE_S)
        assert not unfinished


async def test_too_many_connections_are_turned_away(change: Callable[..., Settings], log_text: StringIO) -> None:
    async with (
        Server(change(connection_limit=2), Logger(log_text)) as server,
        RawConnection.open(server.port) as one,
        RawConnection.open(server.port) as two,
    ):
        assert (await one.ask(GET_HEALTH)).status == 200
        assert (await two.ask(GET_HEALTH)).status == 200
        async with RawConnection.open(server.port) as three:
            answer = await three.answer()
            assert answer.status == 503
            assert answer.error["details"] == {"max": 2}
        assert (await one.ask(GET_HEALTH)).status == 200
