"""
Settings: read once at the start, checked at once, never changed afterwards.

Eight lines are enough for a `.env` parser, and one frozen object is enough for configuration. Everything that can be
tuned has a default, a lowest and a highest value: a typing mistake stops the server in its first second, with a
sentence, and not in its third week, with a riddle.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from taskflow_learn.errors import SettingsError

HOME = Path(__file__).resolve().parents[2]  # the folder that holds .env.example
LESSONS = frozenset({"blocking", "leak"})  # what hurts on purpose
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _number(env: str, default: int, low: int, high: int) -> int:
    """Declare an integer setting with its name in the environment and its bounds."""
    return field(default=default, metadata={"env": env, "low": low, "high": high})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be tuned. Names in the environment stand beside the defaults."""

    host: str = "127.0.0.1"
    port: int = _number("PORT", 3000, 0, 65_535)  # 0: any free port, which tests use
    environment: str = "development"  # NODE_ENV; a label, nothing depends on it
    admin_token: str = ""
    user_token: str = ""
    lessons: frozenset[str] = LESSONS

    worker_pool_size: int = _number("WORKER_POOL_SIZE", max(1, min((os.cpu_count() or 1) - 1, 4)), 1, 64)
    worker_queue_limit: int = _number("WORKER_QUEUE_LIMIT", 100, 1, 100_000)
    worker_job_timeout_ms: int = _number("WORKER_JOB_TIMEOUT_MS", 30_000, 10, 3_600_000)
    report_pool_size: int = _number("REPORT_POOL_SIZE", 2, 1, 64)
    report_queue_limit: int = _number("REPORT_QUEUE_LIMIT", 50, 1, 100_000)
    report_job_timeout_ms: int = _number("REPORT_JOB_TIMEOUT_MS", 60_000, 10, 3_600_000)
    job_history_limit: int = _number("JOB_HISTORY_LIMIT", 1_000, 1, 100_000)

    memory_request_history_limit: int = _number("MEMORY_REQUEST_HISTORY_LIMIT", 500, 1, 100_000)
    memory_event_history_limit: int = _number("MEMORY_EVENT_HISTORY_LIMIT", 500, 1, 100_000)
    memory_safe_cache_limit: int = _number("MEMORY_SAFE_CACHE_LIMIT", 100, 1, 10_000)
    memory_leak_batch_limit: int = _number("MEMORY_LEAK_BATCH_LIMIT", 100, 1, 1_000)
    memory_cleanup_interval_ms: int = _number("MEMORY_CLEANUP_INTERVAL_MS", 60_000, 10, 86_400_000)

    task_limit: int = _number("TASK_LIMIT", 200_000, 1, 10_000_000)
    connection_limit: int = _number("CONNECTION_LIMIT", 4_000, 1, 100_000)
    body_limit_bytes: int = _number("BODY_LIMIT_BYTES", 1_048_576, 1, 1_073_741_824)
    head_timeout_ms: int = _number("HEAD_TIMEOUT_MS", 10_000, 10, 600_000)
    body_timeout_ms: int = _number("BODY_TIMEOUT_MS", 30_000, 10, 600_000)
    keep_alive_timeout_ms: int = _number("KEEP_ALIVE_TIMEOUT_MS", 75_000, 10, 3_600_000)
    send_timeout_ms: int = _number("SEND_TIMEOUT_MS", 30_000, 10, 600_000)
    stop_timeout_ms: int = _number("STOP_TIMEOUT_MS", 5_000, 10, 600_000)
    ws_heartbeat_ms: int = _number("WS_HEARTBEAT_MS", 30_000, 10, 3_600_000)
    ws_message_limit_bytes: int = _number("WS_MESSAGE_LIMIT_BYTES", 65_536, 125, 16_777_216)
    ws_buffer_limit_bytes: int = _number("WS_BUFFER_LIMIT_BYTES", 1_048_576, 1_024, 1_073_741_824)

    @property
    def has_tokens(self) -> bool:
        return bool(self.admin_token or self.user_token)


def parse_dotenv(text: str) -> dict[str, str]:
    """Return the `NAME=value` lines of *text*. Blank lines, comments and lines without `=` are skipped."""
    values = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")  # the first `=` only: a token may well end in `==`
        if equals and not name.startswith("#"):
            values[name.strip()] = value.strip()
    return values


def find_dotenv() -> Path | None:
    """Return the `.env` of the working directory, or else the one of the learning edition."""
    return next((path for path in (Path.cwd() / ".env", HOME / ".env") if path.is_file()), None)


def environment(environ: Mapping[str, str], dotenv: Path | None) -> dict[str, str]:
    """
    Merge `.env` over *environ*; without a `.env`, put the example's values under it.

    A `.env` that someone wrote is a decision and wins. The example is only a fallback, so there the environment wins.
    """
    if dotenv is not None:
        return {**environ, **parse_dotenv(dotenv.read_text(encoding="utf-8"))}
    return {**parse_dotenv((HOME / ".env.example").read_text(encoding="utf-8")), **environ}


def load_settings(values: Mapping[str, str]) -> Settings:
    """Return the settings that *values* name; raise `SettingsError` for the first one that is out of bounds."""
    numbers = {
        entry.name: _parse_number(values, entry.metadata["env"], entry.metadata["low"], entry.metadata["high"])
        for entry in fields(Settings)
        if entry.metadata and entry.metadata["env"] in values
    }
    host = values.get("HOST", "127.0.0.1")
    settings = Settings(
        host=host,
        environment=values.get("NODE_ENV", "development"),
        admin_token=values.get("ADMIN_TOKEN", ""),
        user_token=values.get("USER_TOKEN", ""),
        lessons=_parse_lessons(values.get("LESSONS"), host),
        **numbers,
    )
    if settings.admin_token and settings.admin_token == settings.user_token:
        raise SettingsError("ADMIN_TOKEN and USER_TOKEN must differ, or every user would be an admin")
    return settings


def _parse_number(values: Mapping[str, str], env: str, low: int, high: int) -> int:
    text = values[env].strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and low <= int(text) <= high):
        raise SettingsError(f"{env} must be a whole number from {low} to {high}, got {text[:40]!r}")
    return int(text)


def _parse_lessons(text: str | None, host: str) -> frozenset[str]:
    """A leak and a blocked loop are fine between a learner and this machine; for anyone else they must be asked for."""
    if text is None:
        return LESSONS if host in LOOPBACK else frozenset()
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if not names <= LESSONS:
        raise SettingsError(f"LESSONS may name {', '.join(sorted(LESSONS))}, got {text[:80]!r}")
    return names
