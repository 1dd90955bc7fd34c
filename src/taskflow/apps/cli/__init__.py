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
    files,
    jobs,
    keys,
    migrate,
    queues,
    schedules,
    stats,
    status,
    up,
    webhooks,
    worker,
)
from taskflow.kernel.errors import DomainError, Invalid, SetupError, TaskFlowError

# The first that an error is an instance of counts.
EXIT_CODES: tuple[tuple[type[TaskFlowError], int], ...] = ((SetupError, 1), (Invalid, 2), (DomainError, 1))
INTERRUPTED = 130

app = typer.Typer(
    name="taskflow",
    help=(
        "TaskFlow: one durable place for work, done by people and by machines.\n\n"
        "Start with `taskflow up`: it runs everything on this machine and shows how to submit a first job."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
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


for _module in (up, api, worker, attempt, migrate, jobs, schedules, queues, files, webhooks, stats, status, keys):
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
