"""The socket: handshake, conversation, events and the end, by hand and with the `websockets` library."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from learn_client import PATIENCE_S, USER, RawConnection, request
from taskflow_learn.config import Settings
from taskflow_learn.log import Logger
from taskflow_learn.server import Server
from taskflow_learn.websocket.frames import Frame, Opcode, encode_frame, parse_close
from taskflow_learn.websocket.hub import PATH

HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: keep-alive, Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def dial(server: Server, **options: Any) -> connect:
    headers = {"Authorization": f"Bearer {USER}"}
    return connect(f"ws://127.0.0.1:{server.port}{PATH}", additional_headers=headers, **options)


async def hear(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        message: dict[str, Any] = json.loads(await socket.recv())
    return message


async def say(socket: ClientConnection, message: object) -> dict[str, Any]:
    await socket.send(message if isinstance(message, str) else json.dumps(message))
    return await hear(socket)


class RawSocket:
    """A WebSocket whose frames are made by hand."""

    def __init__(self, connection: RawConnection) -> None:
        self._connection = connection

    async def open(self) -> dict[str, Any]:
        """Shake hands; return the greeting."""
        await self._connection.send(request("GET", PATH, *HANDSHAKE))
        answer = await self._connection.answer(has_body=False)
        assert answer.status == 101
        assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        greeting: dict[str, Any] = json.loads((await self.frame()).payload)
        return greeting

    async def send(self, opcode: Opcode, payload: bytes, *, final: bool = True) -> None:
        await self._connection.send(encode_frame(opcode, payload, is_final=final, mask=b"\x11\x22\x33\x44"))

    async def send_bytes(self, data: bytes) -> None:
        await self._connection.send(data)

    async def frame(self) -> Frame:
        first, second = await self._connection.read(2)
        length = second & 0x7F
        extra = await self._connection.read({126: 2, 127: 8}.get(length, 0))
        payload = await self._connection.read(int.from_bytes(extra, "big") if extra else length)
        return Frame(Opcode(first & 0x0F), payload, bool(first & 0x80))

    async def closing(self) -> tuple[int, str]:
        """Return the code and reason of the close frame, before which there may be other frames."""
        while (frame := await self.frame()).opcode is not Opcode.CLOSE:
            pass
        return parse_close(frame.payload)


@pytest.fixture
async def socket(raw: RawConnection) -> RawSocket:
    socket = RawSocket(raw)
    await socket.open()
    return socket


@pytest.mark.covers("S1-55")
@pytest.mark.parametrize(
    ("method", "path", "left_out", "put_in", "status"),
    [
        ("GET", "/ws/other", "", "", 404),
        ("POST", PATH, "", "", 405),
        ("GET", PATH, "Upgrade", "", 400),
        ("GET", PATH, "Upgrade", "Upgrade: h2c", 400),
        ("GET", PATH, "Connection", "Connection: keep-alive", 400),
        ("GET", PATH, "Sec-WebSocket-Version", "", 400),
        ("GET", PATH, "Sec-WebSocket-Version", "Sec-WebSocket-Version: 8", 400),
        ("GET", PATH, "Sec-WebSocket-Key", "", 400),
        ("GET", PATH, "Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ=", 400),
        ("GET", PATH, "Sec-WebSocket-Key", "Sec-WebSocket-Key: !!!", 400),
        ("GET", PATH, "Sec-WebSocket-Key", "Sec-WebSocket-Key: \u00e9", 400),
    ],
)
async def test_a_bad_handshake_stays_http(
    raw: RawConnection, method: str, path: str, left_out: str, put_in: str, status: int
) -> None:
    headers = [line for line in HANDSHAKE if not left_out or not line.startswith(left_out)]
    answer = await raw.ask(request(method, path, *headers, *([put_in] if put_in else [])))
    assert answer.status == status
    assert answer.error["message"]
    if put_in.endswith(" 8"):
        assert answer.headers["sec-websocket-version"] == "13"
    assert (await raw.ask(request("GET", "/health"))).status == 200  # the connection is as good as before


@pytest.mark.covers("S1-56")
async def test_a_conversation(server: Server) -> None:
    async with dial(server) as socket:
        ready = await hear(socket)
        assert ready.keys() == {"type", "clientId", "timestamp", "subscribedRooms"}
        assert (ready["type"], ready["subscribedRooms"]) == ("connection.ready", ["tasks"])
        assert (await say(socket, {"type": "ping"}))["type"] == "pong"
        confirmed = await say(socket, {"type": "subscribe", "rooms": ["alpha", "tasks"]})
        assert (confirmed["type"], confirmed["rooms"]) == ("subscription.confirmed", ["alpha", "tasks"])
        assert (await say(socket, {"type": "unsubscribe", "rooms": ["tasks"]}))["rooms"] == ["alpha"]


@pytest.mark.covers("S1-56")
@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("no json", "INVALID_MESSAGE"),
        ("[]", "INVALID_MESSAGE"),
        ("[" * 60_000, "INVALID_MESSAGE"),
        ({"rooms": ["tasks"]}, "INVALID_MESSAGE"),
        ({"type": 5}, "INVALID_MESSAGE"),
        ({"type": "subscribe"}, "INVALID_MESSAGE"),
        ({"type": "subscribe", "rooms": "tasks"}, "INVALID_MESSAGE"),
        ({"type": "subscribe", "rooms": [5]}, "INVALID_MESSAGE"),
        ({"type": "subscribe", "rooms": ["a b"]}, "INVALID_MESSAGE"),
        ({"type": "subscribe", "rooms": [f"r{n}" for n in range(20)]}, "INVALID_MESSAGE"),
        ({"type": "publish"}, "UNSUPPORTED_MESSAGE"),
    ],
)
async def test_a_message_we_do_not_understand_is_an_error_and_not_the_end(
    server: Server, message: object, code: str
) -> None:
    async with dial(server) as socket:
        await hear(socket)
        error = await say(socket, message)
        assert (error["type"], error["code"]) == ("error", code)
        assert (await say(socket, {"type": "ping"}))["type"] == "pong"


@pytest.mark.covers("S1-57", "S1-65")
async def test_whoever_listens_hears_what_happens(server: Server, admin: httpx.AsyncClient) -> None:
    async with dial(server) as one, dial(server) as two:
        await hear(one), await hear(two)
        created = await admin.post("/tasks", json={"title": "a"})
        task = created.json()
        updated = await admin.put(f"/tasks/{task['id']}", json={"priority": 5})
        deleted = await admin.delete(f"/tasks/{task['id']}")
        for socket in (one, two):
            events = [await hear(socket) for _ in range(3)]
            assert [event["type"] for event in events] == ["task.created", "task.updated", "task.deleted"]
            assert [event["task"] for event in events] == [task, updated.json(), {"id": task["id"]}]
            answers = (created, updated, deleted)
            assert [event["requestId"] for event in events] == [a.headers["x-request-id"] for a in answers]
            assert all(event["timestamp"].endswith("Z") for event in events)


@pytest.mark.covers("S1-58")
async def test_a_room_hears_only_its_own(server: Server, admin: httpx.AsyncClient) -> None:
    one = (await admin.post("/tasks", json={"title": "one"})).json()
    async with dial(server) as socket:
        await hear(socket)
        await say(socket, {"type": "subscribe", "rooms": [f"task:{one['id']}"]})
        await say(socket, {"type": "unsubscribe", "rooms": ["tasks"]})
        await admin.post("/tasks", json={"title": "not heard"})
        await admin.put(f"/tasks/{one['id']}", json={"title": "heard"})
        assert (await hear(socket))["task"]["title"] == "heard"


@pytest.mark.covers("S1-30", "S1-46")
async def test_who_is_connected_can_be_asked(server: Server, user: httpx.AsyncClient) -> None:
    async with dial(server) as one, dial(server) as two:
        await hear(one), await hear(two)
        await say(two, {"type": "subscribe", "rooms": ["alpha"]})
        for path in ("/tasks/system/ws", "/demo/ws/stats"):
            stats = (await user.get(path)).json()
            assert stats.keys() == {"requestId", "path", "connectedClients", "rooms", "uptimeSeconds"}
            assert (stats["path"], stats["connectedClients"]) == (PATH, 2)
            assert stats["rooms"] == [{"name": "alpha", "clients": 1}, {"name": "tasks", "clients": 2}]


async def test_fragments_with_a_ping_in_between(socket: RawSocket) -> None:
    await socket.send(Opcode.TEXT, b'{"type":', final=False)
    await socket.send(Opcode.PING, b"still there?")
    await socket.send(Opcode.CONTINUATION, b'"ping"}')
    assert await socket.frame() == Frame(Opcode.PONG, b"still there?")
    assert json.loads((await socket.frame()).payload)["type"] == "pong"


async def test_frames_sent_with_the_handshake_are_not_lost(raw: RawConnection) -> None:
    ping = encode_frame(Opcode.TEXT, b'{"type":"ping"}', mask=b"abcd")
    await raw.send(request("GET", PATH, *HANDSHAKE) + ping)
    await raw.answer(has_body=False)
    socket = RawSocket(raw)
    types = [json.loads((await socket.frame()).payload)["type"] for _ in range(2)]
    assert types == ["connection.ready", "pong"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02{}", 1002),
        (b"\xf1\x80abcd", 1002),
        (encode_frame(Opcode.CONTINUATION, b"x", mask=b"abcd"), 1002),
        (encode_frame(Opcode.BINARY, b"x", mask=b"abcd"), 1003),
        (encode_frame(Opcode.TEXT, b"\xff\xfe", mask=b"abcd"), 1007),
        (b"\x81\xff\x00\x00\x00\x00\x00\x01\x00\x01abcd", 1009),
        (encode_frame(Opcode.CLOSE, b"\x03\xee", mask=b"abcd"), 1002),
    ],
    ids=["unmasked", "reserved-bits", "stray-fragment", "binary", "not-utf-8", "too-large", "bad-close"],
)
async def test_a_broken_rule_ends_the_conversation_with_its_code(
    socket: RawSocket, raw: RawConnection, data: bytes, code: int
) -> None:
    await socket.send_bytes(data)
    assert (await socket.closing())[0] == code
    raw.writer.write_eof()
    assert await raw.rest() == b""


@pytest.mark.parametrize(("payload", "code"), [(b"", 1000), (b"\x03\xe8bye", 1000), (b"\x0f\xa0", 4000)])
async def test_a_close_is_answered(socket: RawSocket, raw: RawConnection, payload: bytes, code: int) -> None:
    await socket.send(Opcode.CLOSE, payload)
    assert (await socket.closing())[0] == code
    assert await raw.rest() == b""


async def test_a_client_that_vanishes_is_forgotten(server: Server) -> None:
    async with RawConnection.open(server.port) as connection:
        await RawSocket(connection).open()
        assert len(server.services.hub) == 1
        connection.writer.transport.abort()
        await asyncio.wait(server._connections, timeout=PATIENCE_S)
    assert len(server.services.hub) == 0


async def test_a_client_that_does_not_read_is_dropped_and_the_others_go_on(
    change: Callable[..., Settings], log_text: StringIO
) -> None:
    async with (
        Server(change(ws_buffer_limit_bytes=20_000), Logger(log_text)) as server,
        RawConnection.open(server.port) as lazy,
        dial(server) as eager,
    ):
        await RawSocket(lazy).open()
        await hear(eager)
        lazy.reader._transport.pause_reading()  # type: ignore[attr-defined]
        task = {"id": "x", "title": "t" * 9_000}
        count = 0
        while len(server.services.hub) == 2:
            server.services.hub.announce("task.created", {**task}, str(count))
            assert (await hear(eager))["requestId"] == str(count)
            count += 1
        assert "it does not read" in log_text.getvalue()
        assert (await say(eager, {"type": "ping"}))["type"] == "pong"


class TestHeartbeat:
    @pytest.fixture
    def settings(self, change: Callable[..., Settings]) -> Settings:
        return change(ws_heartbeat_ms=40)

    @pytest.mark.covers("S1-58")
    async def test_who_answers_stays_and_who_is_silent_goes(
        self, server: Server, raw: RawConnection, log_text: StringIO
    ) -> None:
        async with dial(server) as living:  # the library answers pings by itself
            await hear(living)
            silent = RawSocket(raw)
            await silent.open()
            assert (await silent.frame()).opcode is Opcode.PING
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while (await silent.frame()).opcode is Opcode.PING:
                    pass
            assert "it is silent" in log_text.getvalue()
            assert (await say(living, {"type": "ping"}))["type"] == "pong"


@pytest.mark.covers("S1-6")
async def test_a_stopping_server_says_goodbye(change: Callable[..., Settings]) -> None:
    async with Server(change(), Logger(StringIO())) as server, dial(server) as socket:
        await hear(socket)
        await server.stop()
        with pytest.raises(ConnectionClosed) as closed:
            await hear(socket)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "the server is stopping")


async def test_a_stopping_server_does_not_wait_for_ever_for_a_silent_client(change: Callable[..., Settings]) -> None:
    async with Server(change(stop_timeout_ms=50), Logger(StringIO())) as server:
        async with RawConnection.open(server.port) as connection:
            await RawSocket(connection).open()
            async with asyncio.timeout(PATIENCE_S):
                await server.stop()
        assert len(server.services.hub) == 0
