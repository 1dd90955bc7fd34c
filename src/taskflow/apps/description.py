"""
What a supervisor must know of an app: its queues, and its database if it names one.

The app is asked in a process of its own, so that the supervisor runs none of its code.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from taskflow.apps.settings import Settings
from taskflow.apps.worker import NOT_FOR_APPS
from taskflow.kernel.errors import SetupError

DESCRIBE_S = 60.0  # for an app to be imported and to say what it is
BURIAL_S = 1.0  # for a killed process to be gone
PLAIN_OUTPUT = {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


async def described(settings: Settings) -> Settings:
    """
    Complete *settings* by what the app says of itself: its queues, and its database if it names one.

    It is asked in a process of its own, which is killed, with all that it started, when this ends in any way.

    Raises:
        SetupError: the app cannot be loaded; in its own words.
    """
    if settings.app is None:
        return settings
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "taskflow", "worker", "--describe"),
        env={**settings.child_environ(without=NOT_FOR_APPS), **PLAIN_OUTPUT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(DESCRIBE_S):
            output, complaint = await process.communicate()
    except TimeoutError:
        raise SetupError(f"--app {settings.app}: loading it took more than {DESCRIBE_S:g} s") from None
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(BURIAL_S):
                await process.wait()
    if process.returncode:
        words = [f"--app {settings.app}: loading it ended with exit code {process.returncode}"]
        words += [line for line in complaint.decode(errors="replace").splitlines() if line.startswith("taskflow: ")]
        raise SetupError(words[-1].removeprefix("taskflow: "))
    told = _description_in(output)
    if told is None:
        raise SetupError(f"--app {settings.app}: loading it ended before it could be asked for its queues")
    return replace(
        settings,
        queues=settings.queues or told.queues,
        database_url=told.url or settings.database_url,
        data_dir=settings.data_dir if told.data_dir is None else Path(told.data_dir),
    )


def describe(settings: Settings, say: Callable[[str], None]) -> None:
    """Load the app and say, in a line of JSON, what `described` wants to know."""
    from taskflow.apps.sdk.loading import load_app

    app = load_app(settings.app or "")
    data_dir = app.database.data_dir
    told = _Description(tuple(app.registry.queues), app.database.given, None if data_dir is None else str(data_dir))
    say(f"\n{msgspec.json.encode(told).decode()}")  # on a line of its own, whatever the app has printed


def _description_in(output: bytes) -> "_Description | None":
    """Return the last description in *output*: an app may print before it and, at its exit, after it."""
    for line in reversed(output.splitlines()):
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(line, type=_Description)
    return None


class _Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a supervisor must know of an app."""

    queues: tuple[str, ...]
    url: str | None
    data_dir: str | None
