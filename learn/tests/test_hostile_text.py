"""Text that is valid JSON and no valid text: it costs its sender an error, and nobody anything else."""

import io

import httpx
import pytest

from taskflow_learn.http.head import Head
from taskflow_learn.log import Logger


async def test_half_a_character_in_a_field_name_gets_an_answer(admin: httpx.AsyncClient) -> None:
    answer = await admin.post(
        "/tasks", content=b'{"title": "t", "\\ud800": 1}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "VALIDATION_ERROR"


async def test_spaces_count_towards_the_limit_of_a_title(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/tasks", json={"title": "x" + " " * 1000})
    assert answer.status_code == 422
    assert answer.json()["error"]["details"]["max"] == 200


def test_a_line_that_the_stream_cannot_write_does_not_silence_the_log() -> None:
    raw = io.BytesIO()
    log = Logger(io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    log.info("caf\u00e9 \ud800")
    log.info("after")
    assert b"caf\\xe9 \\ud800" in raw.getvalue()
    assert b"after" in raw.getvalue()


def test_the_log_gives_no_commands_to_a_terminal() -> None:
    stream = io.StringIO()
    Logger(stream).info("Request received", userAgent="caf\u00e9 \x1b[2J \u009b2J \x7f")
    data = stream.getvalue().partition("received ")[2]
    assert data == '{"userAgent": "caf\u00e9 \\u001b[2J \\u009b2J \\u007f"}\n'


@pytest.mark.parametrize(
    ("version", "options", "stays"),
    [
        ((1, 1), "disclosed", True),
        ((1, 1), "Close", False),
        ((1, 0), "not-keep-alive", False),
        ((1, 0), "x, keep-alive", True),
    ],
)
def test_connection_options_are_whole_words(version: tuple[int, int], options: str, stays: bool) -> None:
    assert Head("GET", "/", version, {"connection": options}).keep_alive is stays
