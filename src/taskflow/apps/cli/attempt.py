"""`taskflow attempt`: what a worker process starts for jobs that run in a process of their own; not for people."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command(hidden=True)(attempt)


def attempt(fd: Annotated[int, typer.Option(help="Descriptor of the channel to the worker.")]) -> None:
    """Run attempts for the worker at the other end of a channel, until it ends."""
    from taskflow.engine.isolation.limits import die_with_parent

    die_with_parent()
    from taskflow.apps.settings import Settings
    from taskflow.apps.worker import run_attempts

    run_attempts(Settings.from_env(), fd=fd)
