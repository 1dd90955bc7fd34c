"""The command line from outside: help that teaches, errors in a line, exit codes."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from taskflow.apps.cli import EXIT_CODES
from taskflow.apps.up import words_for_key
from taskflow.kernel.errors import DomainError, SetupError

SOURCE = Path(__file__).parents[2] / "src"

pytestmark = [pytest.mark.slow, pytest.mark.system]


def taskflow(*words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "taskflow", *words],
        env={"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin", "COLUMNS": "120", "NO_COLOR": "1", **environ},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_help_lists_the_commands_and_where_to_start() -> None:
    done = taskflow("--help")
    assert done.returncode == 0
    assert "Start with `taskflow up`" in done.stdout
    for command in ("up", "api", "worker", "migrate"):
        assert re.search(rf"^\W*{command} ", done.stdout, re.MULTILINE), command


@pytest.mark.parametrize("command", ["up", "api", "worker", "migrate"])
def test_the_help_of_a_command_shows_an_example_that_starts_with_it(command: str) -> None:
    done = taskflow(command, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert f"taskflow {command}" in done.stdout.split("Example")[1]
    assert "--fd" not in done.stdout.replace("--control-fd", "--fd"), "what is between processes is not shown"


@pytest.mark.parametrize("command", ["api", "worker", "migrate"])
def test_without_a_database_a_command_says_what_to_do(tmp_path: Path, command: str) -> None:
    done = taskflow(command, TASKFLOW_DATA_DIR=str(tmp_path))
    assert done.returncode == 1
    assert (
        done.stderr
        == f"taskflow: no database: start `taskflow up` (none runs on {tmp_path}; name another directory with "
        "--data-dir or TASKFLOW_DATA_DIR), or set TASKFLOW_DATABASE_URL\n"
    )
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--queues", "", "must name a queue; left out, it is those of the kinds that the worker runs"),
        ("--concurrency", "0", "must be a whole number from 1 to 10000, got '0'"),
        ("--processes", "0", "must be 1 or more"),
    ],
)
def test_a_worker_names_the_option_that_cannot_be(option: str, value: str, said: str, tmp_path: Path) -> None:
    done = taskflow("worker", option, value, TASKFLOW_DATA_DIR=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"taskflow: {option} {said}\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("up", "--wrong", "1"), "taskflow up: no such option: --wrong; try --help"),
        (("jobs", "submit"), "taskflow jobs submit: missing argument 'TASK_TYPE'; try --help"),
        (("jobs", "shwo"), "taskflow jobs: no such command 'shwo'. Did you mean 'show'? try --help"),
    ],
)
def test_what_is_asked_wrongly_is_one_line_that_names_the_command(words: Sequence[str], line: str) -> None:
    done = taskflow(*words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{line}\n")


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"taskflow \d+\.\d+\.\d+\n", taskflow("--version").stdout)


def test_the_supervisor_loads_neither_web_framework_nor_migrations() -> None:
    program = "import sys, taskflow.apps.cli, taskflow.apps.up; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    )
    heavy = {"fastapi", "starlette", "pydantic", "uvicorn", "alembic", "sqlalchemy", "psycopg"}
    assert not heavy & set(done.stdout.split())


LOADED = "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
RUN = LOADED + "from taskflow.apps.cli import main; sys.argv = ['taskflow', *sys.argv[1:]]; main()"


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("jobs", "--help"), ("jobs", "show", "--help")])
def test_what_tells_of_commands_loads_nothing_that_they_run_on(words: Sequence[str]) -> None:
    heavy = {"asyncio", "asyncpg", "fastapi", "importlib.metadata", "msgspec", "PIL", "pydantic", "rich", "starlette"}
    assert not heavy & modules_of(*words)


def test_a_look_at_the_database_loads_no_web_framework_and_no_log_lines(database_url: str) -> None:
    where = ("--database-url", database_url, "--json")
    missing = "019ab123-4567-7abc-8def-0123456789ab"
    chosen = ("--queue", "images", "--dry-run")
    looks = (("status",), ("jobs", "show", missing), ("queues", "list"), ("jobs", "bulk", "cancel", *chosen))
    for words in ((*look, *where) for look in looks):
        assert not {"fastapi", "PIL", "rich", "structlog", "typst", "uvicorn"} & modules_of(*words), words


def modules_of(*words: str) -> set[str]:
    """Return what the process of a command had loaded at its end."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    modules = set(done.stderr.splitlines()[-1].split())
    assert "taskflow.apps.cli" in modules
    return modules


def test_a_key_is_shown_in_a_terminal_alone() -> None:
    told, bearer = words_for_key("tf_key", Path("/data/credentials.json"), shown=True)
    assert (told, bearer) == ("tf_key   shown this once, kept in /data/credentials.json", "tf_key")
    told, bearer = words_for_key("tf_key", Path("/data/credentials.json"), shown=False)
    assert told == "in /data/credentials.json"
    assert bearer == "$(grep -o 'tf_[0-9A-Za-z]*' /data/credentials.json)"


def test_every_expected_error_has_an_exit_code_of_its_own_kind() -> None:
    assert [code for kind, code in EXIT_CODES if kind in {SetupError, DomainError}] == [1, 1]
    assert all(0 < code < 126 for _, code in EXIT_CODES)
