"""`python -m taskflow_learn`: read the settings, run the server until a signal comes, say what happens."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping

from taskflow_learn.config import LOOPBACK, environment, find_dotenv, load_settings
from taskflow_learn.errors import SettingsError
from taskflow_learn.log import LEVELS, Logger
from taskflow_learn.server import Server


def serve() -> int:
    """Run until SIGINT or SIGTERM; return the exit code."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a log that waits in a buffer is no log
    try:
        values = environment(os.environ, find_dotenv())
        settings = load_settings(values)
        print("Environment variables loaded natively.")
        return asyncio.run(_run(Server(settings, _logger(values)), settings.host))
    except SettingsError as error:
        print(f"TaskFlow cannot start: {error}", file=sys.stderr)
        return 2


def _logger(values: Mapping[str, str]) -> Logger:
    """Return a logger at `LOG_LEVEL`, in colour on a terminal (https://no-color.org)."""
    level = values.get("LOG_LEVEL", "INFO").upper()
    if level not in LEVELS:
        raise SettingsError(f"LOG_LEVEL must be one of {', '.join(LEVELS)}, got {level[:40]!r}")
    return Logger(level=level, colour="NO_COLOR" not in values and (sys.stdout.isatty() or "FORCE_COLOR" in values))


async def _run(server: Server, host: str) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with server:
        print(f"TaskFlow server started on {server.url}")
        print("Listening for requests... (Press Ctrl+C to stop)")
        if host not in LOOPBACK:
            print(f"Other machines can reach {host}: use tokens of your own, not those of .env.example.")
        await stop.wait()
        print("Stopping: letting requests finish.")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)  # who asks a second time means it
    print("TaskFlow server stopped.")
    return 0
