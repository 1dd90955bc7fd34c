"""Who may do what, and what the middleware says to the others."""

import json
import re
from collections.abc import Callable
from io import StringIO

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from learn_client import ADMIN, USER
from taskflow_learn.config import Settings
from taskflow_learn.log import Logger
from taskflow_learn.server import Server

READS = ["/tasks", "/tasks/next", "/tasks/peek", "/tasks/queue", "/tasks/system/memory", "/tasks/system/ws"]
WRITES = [("POST", "/tasks"), ("POST", "/tasks/reports/start"), ("POST", "/tasks/memory/leak")]
DEMOS = ["/demo/cpu/ping", "/demo/memory/stats", "/demo/ws/stats", "/demo/stream/csv?count=1"]


@pytest.mark.covers("S1-50", "S1-51", "X-5")
@pytest.mark.parametrize("path", READS + DEMOS)
async def test_nobody_reads_without_a_token(anyone: httpx.AsyncClient, path: str) -> None:
    answer = await anyone.get(path)
    assert answer.status_code == 401
    assert answer.json() == {"error": "Unauthorized: Missing Authorization header"}
    assert answer.headers["www-authenticate"] == "Bearer"
    wrong = await anyone.get(path, headers={"Authorization": "Bearer wrong"})
    assert (wrong.status_code, wrong.json()) == (401, {"error": "Unauthorized: Invalid token"})


@pytest.mark.covers("S1-51")
@pytest.mark.parametrize(("method", "path"), [*WRITES, ("PUT", "/tasks/x"), ("DELETE", "/tasks/x")])
async def test_a_user_only_reads(user: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await user.request(method, path, content=b"{")  # the third link is not reached: its 400 is not heard
    assert answer.status_code == 403
    assert answer.json() == {"error": "Forbidden: Insufficient role permissions for mutating actions"}


@pytest.mark.covers("S1-50")
@pytest.mark.parametrize("value", [ADMIN, f"Bearer {ADMIN}", f"bearer  {ADMIN}"])
async def test_the_token_may_stand_bare_or_after_bearer(anyone: httpx.AsyncClient, value: str) -> None:
    answer = await anyone.post("/tasks", json={"title": "a"}, headers={"Authorization": value})
    assert answer.status_code == 201


@pytest.mark.parametrize("value", ["Basic c2VjcmV0", "Bearer", f"Bearer {ADMIN}x", f"Bearer {ADMIN[:-1]}"])
async def test_nearly_right_is_wrong(anyone: httpx.AsyncClient, value: str) -> None:
    assert (await anyone.get("/tasks", headers={"Authorization": value})).status_code == 401


@pytest.mark.covers("S1-55", "S1-58", "X-5")
async def test_a_socket_needs_a_token_too(server: Server) -> None:
    url = f"ws://127.0.0.1:{server.port}/ws/tasks"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url).__aenter__()
    assert refused.value.response.status_code == 401
    async with connect(url, additional_headers={"Authorization": f"Bearer {USER}"}) as socket:
        assert json.loads(await socket.recv())["type"] == "connection.ready"
    async with connect(f"{url}?token={USER}") as socket:
        assert json.loads(await socket.recv())["type"] == "connection.ready"


async def test_a_token_in_the_address_is_for_browsers_and_not_for_tasks(
    anyone: httpx.AsyncClient, log_text: StringIO
) -> None:
    assert (await anyone.get("/demo/cpu/ping", params={"token": USER})).json()["message"] == "pong"
    assert (await anyone.get("/tasks", params={"token": ADMIN})).status_code == 401
    assert (await anyone.post("/demo/memory/safe", params={"token": USER})).status_code == 403
    assert ADMIN not in log_text.getvalue()
    assert USER not in log_text.getvalue()


class TestWithoutTokens:
    @pytest.fixture
    def settings(self, change: Callable[..., Settings]) -> Settings:
        return change(admin_token="", user_token="")

    async def test_demos_and_socket_are_open_and_tasks_are_closed(
        self, anyone: httpx.AsyncClient, server: Server
    ) -> None:
        """Nobody can prove who they are, so nobody may write; but there is something to play with."""
        assert (await anyone.get("/demo/cpu/ping")).status_code == 200
        assert (await anyone.get("/tasks")).status_code == 401
        assert (await anyone.get("/tasks", headers={"Authorization": "Bearer"})).status_code == 401
        async with connect(f"ws://127.0.0.1:{server.port}/ws/tasks") as socket:
            assert json.loads(await socket.recv())["type"] == "connection.ready"

    async def test_pages_of_other_sites_may_not_open_the_socket(self, server: Server) -> None:
        url = f"ws://127.0.0.1:{server.port}/ws/tasks"
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, origin="https://elsewhere.example").__aenter__()  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, origin="http://[").__aenter__()  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
        async with connect(url, origin=f"http://127.0.0.1:{server.port}") as socket:  # type: ignore[arg-type]
            assert json.loads(await socket.recv())["type"] == "connection.ready"


@pytest.mark.covers("S1-54")
async def test_the_log_tells_the_story_of_a_request_under_its_id(admin: httpx.AsyncClient, log_text: StringIO) -> None:
    answer = await admin.post("/tasks", json={"title": "a"}, headers={"User-Agent": "tester\t1"})
    request_id = answer.headers["x-request-id"]
    lines = [line for line in log_text.getvalue().splitlines() if request_id in line]
    pattern = re.compile(r"\[(\S+Z)\] \[(DEBUG|INFO|WARN|ERROR)\] ([^{]+) (\{.*\})")
    events = [match.groups() for match in map(pattern.fullmatch, lines) if match]
    assert len(events) == len(lines)
    fields = {message: json.loads(data) for _, _, message, data in events}
    received, sent = fields["Request received"], fields["Response sent"]
    assert (received["method"], received["url"], received["userAgent"]) == ("POST", "/tasks", "tester\t1")
    assert sent["statusCode"] == 201
    assert sent["responseTimeMs"] > 0
    assert fields["Task operation"] == {
        "requestId": request_id,
        "operation": "created",
        "taskId": answer.json()["id"],
        "status": "pending",
    }
    steps = [json.loads(data)["step"] for _, _, message, data in events if message == "Middleware passed"]
    assert steps == ["auth", "permission", "validation"]


@pytest.mark.covers("S1-54")
async def test_refusals_are_warnings_and_bugs_are_errors_with_a_stack(
    admin: httpx.AsyncClient, log_text: StringIO
) -> None:
    await admin.get("/nowhere")
    await admin.get("/demo/error/internal")
    log = log_text.getvalue()
    assert re.search(r'\[WARN\] Response sent .*"statusCode": 404', log)
    assert re.search(r"\[ERROR\] Unexpected error .*Traceback", log)


@pytest.mark.covers("S1-54")
def test_colours_are_there_when_asked_for_and_a_line_break_cannot_forge_a_line() -> None:
    plain, coloured = StringIO(), StringIO()
    Logger(plain).warn("careful", url="/a\n[INFO] forged")
    Logger(coloured, colour=True).warn("careful")
    assert "\x1b[33m[WARN]\x1b[0m" in coloured.getvalue()
    assert "\x1b" not in plain.getvalue()
    assert plain.getvalue().count("\n") == 1
