"""
The command line. Each command imports what it runs when it runs, so that `taskflow --help` and the supervisor of
`taskflow up` load little.

Exit codes: 0 done · 1 could not be done · 2 asked wrongly · 130 interrupted.
"""

import sys
from typing import Annotated

import typer

import taskflow
from taskflow.apps.cli import (
    api,
    attempt,
    doctor,
    files,
    importing,
    jobs,
    keys,
    migrate,
    queues,
    schedules,
    stats,
    status,
    top,
    up,
    webhooks,
    worker,
)
from taskflow.apps.cli.grammar import Commands
from taskflow.apps.cli.session import INTERRUPTED
from taskflow.kernel.errors import DomainError, Invalid, SetupError, TaskFlowError

# The first that an error is an instance of counts.
EXIT_CODES: tuple[tuple[type[TaskFlowError], int], ...] = ((SetupError, 1), (Invalid, 2), (DomainError, 1))

app = Commands(
    name="taskflow",
    help=(
        "TaskFlow: one durable place for work, done by people and by machines.\n\n"
        "Start with `taskflow up`: it runs everything on this machine and shows how to submit a first job.\n\n"
        "In a terminal, tables fit its width. In a pipe they have all columns, uncut, without colours, and padded to "
        "line up; an empty cell is `-`, times are ISO 8601. Cells may hold spaces: programs should read --json, which "
        "every command that answers with data has."
    ),
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _show_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"taskflow {taskflow.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda wanted: _show_version(wanted=wanted),
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    del version  # its callback did it


_MODULES = (
    *(up, api, worker, attempt, migrate, jobs, importing, schedules, queues, files, webhooks),
    *(stats, status, top, doctor, keys),
)
for _module in _MODULES:
    _module.register(app)


def main() -> None:
    """Run the command line; expected errors become one line on stderr and an exit code."""
    try:
        app(prog_name="taskflow")
    except (SetupError, DomainError) as error:
        sys.stderr.write(f"taskflow: {error}\n")
        sys.exit(next(code for kind, code in EXIT_CODES if isinstance(error, kind)))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
