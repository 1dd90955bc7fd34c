"""Log lines: their form, and what never gets into one."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from taskflow.telemetry import log

LOG = log.get_logger("test")
KEY = "tf_" + "a" * 49


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    log.configure("json", stream=stream)
    yield stream
    log.configure("text", level="warning")


def read(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.covers("S3-24")
def test_a_line_is_json_with_time_level_module_and_fields(lines: io.StringIO) -> None:
    LOG.info("taskflow.test.stop", jobs=3, duration_ms=1.5)
    [line] = read(lines)
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {
        "event": "taskflow.test.stop",
        "level": "info",
        "module": "test",
        "jobs": 3,
        "duration_ms": 1.5,
    }


def test_lines_below_the_level_are_not_written(lines: io.StringIO) -> None:
    LOG.debug("taskflow.test.stop")
    assert read(lines) == []


@pytest.mark.parametrize("name", sorted(log.SECRET_FIELDS))
def test_a_field_with_a_secrets_name_is_masked(lines: io.StringIO, name: str) -> None:
    LOG.info("taskflow.test.stop", **{name: "hunter2"})
    assert "hunter2" not in lines.getvalue()


@pytest.mark.parametrize("line_format", ["json", "text"])
@pytest.mark.parametrize(
    ("secret", "text"),
    [
        (KEY, f"Bearer {KEY}"),
        ("hunter2", "postgresql://me:hunter2@db/x"),
        ("hunter2", "cannot reach smtps://me%40x:hunter2@mail:465 now"),
    ],
)
def test_a_secret_is_cut_out_wherever_it_hides(line_format: log.Format, secret: str, text: str) -> None:
    stream = io.StringIO()
    log.configure(line_format, stream=stream, colors=False)
    LOG.info("taskflow.test.stop", error=text, nested={"deep": [text]})
    LOG.error("taskflow.test.exception", exc_info=RuntimeError(text))
    log.configure("text", level="warning")
    assert secret not in stream.getvalue()
    assert "RuntimeError" in stream.getvalue()


def test_what_is_bound_is_on_every_line_below(lines: io.StringIO) -> None:
    tokens = log.bind(request_id="r1")
    LOG.info("taskflow.test.stop")
    log.unbind(tokens)
    LOG.info("taskflow.test.stop")
    assert [line.get("request_id") for line in read(lines)] == ["r1", None]


@pytest.mark.parametrize("value", [object(), {1: {2}}, "\ud800", float("nan"), b"\xff", 2**80])
def test_no_value_breaks_a_line(lines: io.StringIO, value: object) -> None:
    LOG.info("taskflow.test.stop", value=value)
    assert [line["event"] for line in read(lines)] in (["taskflow.test.stop"], ["'taskflow.test.stop'"])


def test_a_reader_that_has_gone_away_costs_the_line_only() -> None:
    stream = io.StringIO()
    log.configure("json", stream=stream)
    stream.close()
    LOG.info("taskflow.test.stop")
    log.configure("text", level="warning")


def test_libraries_lines_come_along_from_warning_up(lines: io.StringIO) -> None:
    logging.getLogger("some.library").info("not this")
    logging.getLogger("some.library").warning("disk %d%% full", 99)
    [line] = read(lines)
    assert (line["event"], line["module"], line["message"]) == ("taskflow.library.log", "some.library", "disk 99% full")


def test_libraries_show_tracebacks_of_errors_only(lines: io.StringIO) -> None:
    for write in (logging.getLogger("some.library").warning, logging.getLogger("some.library").error):
        write("it failed", exc_info=ConnectionRefusedError("nobody there"))
    warning, error = read(lines)
    assert "exception" not in warning
    assert warning["error"] == "ConnectionRefusedError: nobody there"
    assert "ConnectionRefusedError: nobody there" in str(error["exception"])


def test_configuring_twice_does_not_write_twice(lines: io.StringIO) -> None:
    log.configure("json", stream=lines)
    logging.getLogger("some.library").error("once")
    assert len(read(lines)) == 1


def test_text_is_for_people() -> None:
    stream = io.StringIO()
    log.configure("text", stream=stream, colors=False)
    LOG.info("taskflow.test.stop", jobs=3)
    log.configure("text", level="warning")
    assert "taskflow.test.stop" in stream.getvalue()
    assert "jobs=3" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
