"""How the command line lays things out, and what it looks like in a real terminal."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.operator import Operator

from taskflow.apps.cli.output import GAP, Column, age, clean, fit, iso, plural, size, span
from taskflow.engine.job import JobError

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.004, "4ms"), (0.25, "250ms"), (1, "1s"), (1.54, "1.5s"), (59, "59s"), (119.9, "119s"), (120, "2m"),
        (7199, "119m"), (7200, "2h"), (172_799, "47h"), (172_800, "2d"), (1e9, "11574d"),
    ],
)  # fmt: skip
def test_a_span_is_told_in_its_largest_unit(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_an_age_lies_before_now_or_after_it() -> None:
    assert age(NOW - timedelta(seconds=12), NOW) == "12s ago"
    assert age(NOW + timedelta(hours=5), NOW) == "in 5h"
    assert age(NOW + timedelta(milliseconds=300), NOW) == "now"


def test_an_instant_is_utc_with_milliseconds() -> None:
    assert iso(datetime.fromisoformat("2026-11-23T10:30:00.123456+01:00")) == "2026-11-23T09:30:00.123Z"


def test_sizes_and_numbers_are_for_people() -> None:
    assert [size(n) for n in (0, 1023, 1024, 9_451_199, 5 << 30, 5 << 40)] == [
        "0 B", "1023 B", "1.0 KiB", "9.0 MiB", "5.0 GiB", "5.0 TiB",
    ]  # fmt: skip
    assert [plural(n, "line") for n in (0, 1, 2, 1000)] == ["0 lines", "1 line", "2 lines", "1,000 lines"]
    assert [plural(n, "retry", "retries") for n in (1, 3)] == ["1 retry", "3 retries"]


@given(st.text())
def test_cleaned_text_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text)
    if text.isprintable():
        assert clean(text) == text


columns = st.lists(
    st.tuples(st.integers(0, 9), st.none() | st.integers(1, 30), st.integers(1, 60)), min_size=1, max_size=12
)


@given(columns, st.integers(1, 300))
def test_columns_fit_as_long_as_those_that_may_go_or_be_cut_allow_it(
    given_columns: Sequence[tuple[int, int | None, int]], available: int
) -> None:
    made = [Column("", rank=rank, least=least) for rank, least, _ in given_columns]
    widths = [width for _, _, width in given_columns]
    fitted = fit(made, widths, available)
    shown = [width for width in fitted if width]
    floor = [min(w, c.least or w) for c, w in zip(made, widths, strict=True) if not c.rank]
    least = sum(floor) + len(GAP) * max(len(floor) - 1, 0)
    assert sum(shown) + len(GAP) * max(len(shown) - 1, 0) <= max(available, least)
    for column, width, got in zip(made, widths, fitted, strict=True):
        assert got == 0 or min(width, column.least or width) <= got <= width
        assert got or column.rank, "what has no rank stays"
    if sum(widths) + len(GAP) * (len(widths) - 1) <= available:
        assert fitted == widths, "nothing is cut without need"


# In a terminal -------------------------------------------------------------------------------------------------------


def in_terminal(operator: Operator, width: int, *words: str) -> tuple[int, str]:
    """Run a command in a pseudo-terminal of *width* columns; return its exit code and what is to be seen."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environ = {**operator.environ(), "TERM": "xterm-256color"}
    with subprocess.Popen(
        operator.command(*words), env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not chunk:
                break
            seen += chunk
    os.close(ours)
    return process.returncode, seen.decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.fixture
def operator(database_url: str) -> Operator:
    operator = Operator(database_url)
    operator.publish()
    return operator


terminal = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="ends of pseudo-terminals differ"),
]


@pytest.mark.parametrize("width", [60, 80, 140])
class TestInATerminal:
    pytestmark = terminal

    def test_a_list_is_as_wide_as_the_terminal_and_never_cuts_an_id(self, operator: Operator, width: int) -> None:
        ids = [operator.failed_job(JobError("RuntimeError", "boom " * 50), tags=["red"]) for _ in range(2)]
        code, seen = in_terminal(operator, width, "jobs", "list")
        assert code == 0
        lines = plain(seen).splitlines()
        assert [line.split()[0] for line in lines] == ["ID", *reversed(ids)]
        assert len(lines) == 3, "no line wraps"
        needed = len(f"{ids[0]}  failed  order  1.5s ago")
        assert max(len(line.rstrip()) for line in lines) <= max(width, needed)
        assert ("RuntimeError: boom" in lines[1]) == (width == 140)
        assert " ago" in lines[1] or "now" in lines[1]
        assert "\x1b[31mfailed" in seen

    def test_a_status_fits(self, operator: Operator, width: int) -> None:
        operator.register_worker(queues=[f"queue-{n}" for n in range(9)], kinds=[f"kind-{n}" for n in range(9)])
        operator.enqueue()
        code, seen = in_terminal(operator, width, "status")
        assert code == 0
        tables = plain(seen).split("\n\n")[1:3]
        assert [table.split()[0] for table in tables] == ["SUPERVISOR", "QUEUE"]
        assert max(len(line.rstrip()) for table in tables for line in table.splitlines()) <= width


class TestInAnyTerminal:
    pytestmark = terminal

    def test_a_document_is_indented(self, operator: Operator) -> None:
        _, seen = in_terminal(operator, 80, "jobs", "list", "--json")
        assert seen == '{\n  "items": [],\n  "nextCursor": null\n}\n'

    def test_a_submit_says_what_became_of_it(self, operator: Operator) -> None:
        _, seen = in_terminal(operator, 80, "jobs", "submit", "order", '{"number": 1}', "--delay-ms", "60000")
        assert re.fullmatch(r"[0-9a-f-]{36}\norder is scheduled in queue orders, due in 60s\n", plain(seen))

    def test_a_long_payload_is_cut_with_a_word(self, operator: Operator) -> None:
        job_id = str(operator.enqueue(payload={"number": 1, "note": "x", **{f"k{n}": n for n in range(100)}}))
        code, seen = in_terminal(operator, 80, "jobs", "show", job_id)
        assert code == 0
        assert "  … 44 lines more; --json shows all" in plain(seen)
        assert re.search(r"^created +.* \(\d{4}-.*Z\)$", plain(seen), re.MULTILINE)


# Help ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["submit", "list", "show", "logs", "cancel", "retry"])
def test_the_help_of_each_command_on_jobs_shows_examples_that_start_with_it(command: str) -> None:
    said = Operator("").taskflow("jobs", command, "--help")
    assert said.code == 0
    assert f"taskflow jobs {command} " in said.out.split("Examples:")[1]


def test_the_help_says_what_exit_codes_mean() -> None:
    for words in (["jobs"], ["status"]):
        assert "Exit codes: 0 " in Operator("").taskflow(*words, "--help").out


@pytest.mark.slow
@pytest.mark.system
def test_help_loads_nothing_that_only_work_needs() -> None:
    program = "import sys, taskflow.apps.cli; print(*sys.modules)"
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, env=Operator("").environ(), capture_output=True, text=True, check=True)
    assert not {"asyncio", "asyncpg", "msgspec", "pydantic", "structlog"} & set(done.stdout.split())


@pytest.mark.slow
@pytest.mark.system
def test_text_that_a_terminal_cannot_show_does_not_stop_a_command(operator: Operator) -> None:
    job_id = str(operator.enqueue(payload={"number": 1, "note": "ümläut →"}))
    environ = {**operator.environ(), "PYTHONIOENCODING": "ascii"}
    for words in (["jobs", "show", job_id], ["jobs", "show", job_id, "--json"]):
        done = subprocess.run(operator.command(*words), env=environ, capture_output=True, check=True)
        assert b"\\xfcml\\xe4ut" in done.stdout or "ümläut →" in done.stdout.decode()


def test_a_table_in_a_pipe_has_every_column_uncut_and_a_line_a_row(operator: Operator) -> None:
    error = JobError("ValueError", "wide\t" + "x" * 1500)
    job_id = operator.failed_job(error, tags=["a b"])
    header, row = operator.taskflow("jobs", "list", COLUMNS="40").out.splitlines()
    assert header.split() == [
        "ID",
        "STATUS",
        "TYPE",
        "CREATED",
        "ATTEMPT",
        "DUE",
        "ENDED",
        "QUEUE",
        "PRIORITY",
        "TAGS",
        "ERROR",
    ]
    assert row.startswith(f"{job_id}  failed  order  20")
    assert row.endswith(f"  a b   ValueError: wide\\t{'x' * 1500}")
    assert re.search(r"  -    ", row), "DUE is empty"
