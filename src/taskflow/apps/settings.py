"""
Settings: everything that TaskFlow takes from its environment, in one table. Nothing else reads the environment.

A command line option beats its variable; `TASKFLOW_X` beats the short name `X` that other systems use. A bare
`DATABASE_URL` is never read: it may belong to a stranger, whose database we would migrate.

`SETTINGS` is what the reference page is checked against.
"""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from taskflow.apps import parsing
from taskflow.kernel.bucket import NO_LIMIT, Limit
from taskflow.kernel.errors import SetupError

MAX_WORKERS = 64
MAX_CONCURRENCY = 10_000
MAX_TIMEOUT_MS = 24 * 3600 * 1000
MAX_RETRIES = 10
MAX_RETENTION_DAYS = 3650
MAX_WEBHOOK_TIMEOUT_MS = 60_000
MAX_WEBHOOK_RETRIES = 9  # as many as the schedule has waits

# In production. In development nothing is limited unless a setting says so.
RATE_LIMITS: Mapping[str, Limit] = {
    "rate_limit_read": Limit(5000, 10_000),
    "rate_limit_write": Limit(5000, 10_000),
    "rate_limit_stream": Limit(500, 1000),
    "rate_limit_work": Limit(5000, 10_000),
    "rate_limit_failures": Limit(20, 200),
}


class Environment(StrEnum):
    """What the deployment is for: development shows and allows more (`forceFail`, a kept secret, text logs)."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table: *parse* gives the value of a text, or raises ValueError saying what it must be."""

    field: str
    names: tuple[str, ...]
    default: str
    parse: Callable[[str], object]
    meaning: str
    secret: bool = False


def _both(name: str) -> tuple[str, ...]:
    """The names of a setting that is everybody's: ours says it to us alone."""
    return f"TASKFLOW_{name}", name


def _limit_setting(name: str, meaning: str) -> Setting:
    limit = RATE_LIMITS[f"rate_limit_{name}"]
    return Setting(
        f"rate_limit_{name}",
        (f"TASKFLOW_RATE_LIMIT_{name.upper()}",),
        "",  # depends on the environment
        parsing.limit,
        f"{meaning}, as requests per second and burst, `RATE:BURST`; 0 for no limit; by default "
        f"`{limit.rate}:{limit.burst}` in production, no limit in development",
    )


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "environment",
        ("TASKFLOW_ENV",),
        "",  # development when `up` binds loopback, else production
        lambda text: Environment(parsing.one_of("development", "production")(text)) if text else None,
        "`development` or `production`; development for an `up` on loopback and what joins it, else production",
    ),
    Setting(
        "data_dir",
        ("TASKFLOW_DATA_DIR",),
        "",  # depends on the user
        lambda text: parsing.directory(text) if text else None,
        "where `up` keeps everything; by default `taskflow` in the user's data directory, root's `/var/lib/taskflow`",
    ),
    Setting(
        "database_url",
        ("TASKFLOW_DATABASE_URL",),
        "",
        parsing.url("postgresql", "postgres"),
        "a PostgreSQL 15 or newer to use in place of the embedded one",
        secret=True,
    ),
    Setting(
        "secret_key",
        ("TASKFLOW_SECRET_KEY",),
        "",
        parsing.secret,
        "root secret, 32 bytes or more; by default made and kept as `secret.key` in the data directory; must be given "
        "in production with an own database",
        secret=True,
    ),
    Setting("host", ("TASKFLOW_HOST",), "127.0.0.1", parsing.given, "address that the API listens on"),
    Setting(
        "port",
        ("TASKFLOW_PORT", "PORT"),
        "3000",
        parsing.whole(0, 65535),
        "port that the API listens on; 0 takes a free one",
    ),
    Setting(
        "public_url",
        ("TASKFLOW_PUBLIC_URL",),
        "",
        parsing.origin,
        "origin that clients reach the API at, such as `https://tasks.example.org`, for links to files; without one "
        "links have the scheme and host of the request that made them",
    ),
    Setting(
        "workers",
        ("TASKFLOW_WORKERS",),
        "1",
        parsing.whole(0, MAX_WORKERS),
        "worker processes of `up` and `worker`",
    ),
    Setting(
        "worker_concurrency",
        ("TASKFLOW_WORKER_CONCURRENCY", "WORKER_CONCURRENCY"),
        "5",
        parsing.whole(1, MAX_CONCURRENCY),
        "jobs that one worker process runs at the same time",
    ),
    Setting(
        "queues",
        ("TASKFLOW_QUEUES",),
        "",
        parsing.names,
        "queues that workers serve, separated by commas; by default all of theirs",
    ),
    Setting(
        "app",
        ("TASKFLOW_APP",),
        "",
        lambda text: text or None,
        "application whose jobs `worker` runs, `module:name`; by default it runs the built-in kinds",
    ),
    Setting(
        "job_timeout_s",
        ("TASKFLOW_JOB_TIMEOUT_MS", "JOB_TIMEOUT_MS"),
        "30000",
        parsing.milliseconds(1, MAX_TIMEOUT_MS),
        "how long an attempt may take where the submit does not say, in milliseconds",
    ),
    Setting(
        "max_retries",
        ("TASKFLOW_MAX_RETRIES", "MAX_RETRIES"),
        "3",
        parsing.whole(0, MAX_RETRIES),
        "retries after the first attempt where the submit does not say; 10 at most",
    ),
    Setting(
        "webhook_timeout_s",
        ("TASKFLOW_WEBHOOK_TIMEOUT_MS", "WEBHOOK_TIMEOUT_MS"),
        "10000",
        parsing.milliseconds(1, MAX_WEBHOOK_TIMEOUT_MS),
        "how long a receiver of callbacks may take, all in all, in milliseconds; 60000 at most",
    ),
    Setting(
        "webhook_max_retries",
        ("TASKFLOW_WEBHOOK_MAX_RETRIES", "WEBHOOK_MAX_RETRIES"),
        "9",
        parsing.whole(0, MAX_WEBHOOK_RETRIES),
        "retries of a callback after the first attempt; fewer than 9 cut the schedule short",
    ),
    Setting(
        "retention_days",
        ("TASKFLOW_RETENTION_DAYS",),
        "30",
        lambda text: parsing.whole(0, MAX_RETENTION_DAYS)(text) or None,
        "days for which a job is kept after its end, with its result, attempts, logs and callbacks; read by "
        "supervisors of workers; 0 keeps everything; 3650 at most",
    ),
    Setting(
        "cors_origins",
        ("TASKFLOW_CORS_ORIGIN", "CORS_ORIGIN"),
        "",
        parsing.origins,
        "web origins that may call the API from a browser, separated by commas, or `*`",
    ),
    _limit_setting("read", "rate limit of a key's GET requests"),
    _limit_setting("write", "rate limit of a key's other requests"),
    _limit_setting("stream", "rate limit of a key's streams of submits, uploads and downloads"),
    _limit_setting("work", "rate limit of a key's requests below `/api/v1/worker`"),
    _limit_setting("failures", "rate limit of requests without a valid key from one address"),
    Setting(
        "smtp_url",
        ("TASKFLOW_SMTP_URL", "SMTP_URL"),
        "",
        parsing.url("smtp", "smtps"),
        "mail server, `smtp://user:password@host:587`; without one, mails become files below the data directory",
        secret=True,
    ),
    Setting(
        "mail_from",
        ("TASKFLOW_MAIL_FROM",),
        "taskflow@localhost",
        parsing.mail_address,
        "address that mails come from",
    ),
    Setting(
        "log_format",
        ("TASKFLOW_LOG_FORMAT",),
        "",  # depends on the environment
        lambda text: parsing.one_of("json", "text")(text) if text else None,
        "`json` or `text`; by default text in development, else json",
    ),
    Setting(
        "log_level",
        ("TASKFLOW_LOG_LEVEL",),
        "info",
        parsing.one_of("debug", "info", "warning", "error"),
        "least level that is logged: `debug`, `info`, `warning` or `error`",
    ),
    Setting(
        "otlp_endpoint",
        _both("OTEL_EXPORTER_OTLP_ENDPOINT"),
        "",
        lambda text: text or None,
        "collector that traces go to by OTLP over HTTP, such as `http://localhost:4318`; without one there are none",
    ),
    Setting(
        "otlp_headers",
        _both("OTEL_EXPORTER_OTLP_HEADERS"),
        "",
        lambda text: text or None,
        "headers that the collector wants, `name=value`, separated by commas, values percent-encoded",
        secret=True,
    ),
    Setting(
        "service_name",
        _both("OTEL_SERVICE_NAME"),
        "",
        lambda text: text or None,
        "what traces call this deployment's processes; by default `taskflow`, or what `OTEL_RESOURCE_ATTRIBUTES` says",
    ),
    Setting(
        "traces_sampler",
        _both("OTEL_TRACES_SAMPLER"),
        "parentbased_always_on",
        parsing.given,
        "which traces are recorded: `always_on`, `always_off`, `traceidratio`, or one of them after `parentbased_`, "
        "for traces that do not come with a decision",
    ),
    Setting(
        "traces_sampler_arg",
        _both("OTEL_TRACES_SAMPLER_ARG"),
        "1.0",
        parsing.given,
        "share of traces that samplers with `traceidratio` record, from 0 to 1",
    ),
    Setting(
        "tracing_disabled",
        _both("OTEL_SDK_DISABLED"),
        "false",
        lambda text: text.lower() == "true",
        "`true` makes no traces, whatever else is set",
    ),
    Setting(
        "metrics_port",
        ("TASKFLOW_METRICS_PORT",),
        "0",
        parsing.whole(0, 65535 - MAX_WORKERS),
        "loopback port on which a supervisor of workers shows its metrics, each worker on the ones after it; 0: none",
    ),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process was told, checked. Fields as in `SETTINGS`; durations in seconds."""

    environment: Environment
    data_dir: Path
    database_url: str | None = field(repr=False)
    secret_key: str | None = field(repr=False)
    host: str
    port: int
    public_url: str | None
    workers: int
    worker_concurrency: int
    queues: tuple[str, ...]
    app: str | None
    job_timeout_s: float
    max_retries: int
    webhook_timeout_s: float
    webhook_max_retries: int
    retention_days: int | None
    cors_origins: tuple[str, ...]
    rate_limit_read: Limit
    rate_limit_write: Limit
    rate_limit_stream: Limit
    rate_limit_work: Limit
    rate_limit_failures: Limit
    smtp_url: str | None = field(repr=False)
    mail_from: str
    log_format: Literal["json", "text"]
    log_level: str
    otlp_endpoint: str | None
    otlp_headers: str | None = field(repr=False)
    service_name: str | None
    traces_sampler: str
    traces_sampler_arg: str
    tracing_disabled: bool
    metrics_port: int
    inherited: Mapping[str, str] = field(repr=False)  # the whole environment, for child processes

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        command: str = "",
        names: Mapping[str, str] | None = None,
        **options: str | int | Path | None,
    ) -> "Settings":
        """
        Read the environment.

        Args:
            environ: None means this process' own.
            command: `up` makes development the default on loopback.
            names: what options are called whose fields have other names.
            options: values of command line options by field name; None means the option was not given.

        Raises:
            SetupError: naming every wrong setting, each with what it must be.
        """
        source = dict(os.environ if environ is None else environ)
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for setting in SETTINGS:
            shown_as = (names or {}).get(setting.field, f"--{setting.field.replace('_', '-')}")
            name, text = _find(setting, source, options.get(setting.field), shown_as)
            try:
                values[setting.field] = setting.parse(text.strip())
            except ValueError as error:
                shown = "" if setting.secret else f", got {text!r}"
                wrong.append(f"{name} {error}{shown}")
        if wrong:
            raise SetupError(f"wrong settings: {'; '.join(wrong)}" if len(wrong) > 1 else wrong[0])
        if values["environment"] is None:
            local = command == "up" and is_loopback(values["host"])
            values["environment"] = Environment.DEVELOPMENT if local else Environment.PRODUCTION
        if command != "up" and options.get("data_dir") is not None and options.get("database_url") is None:
            values["database_url"] = None  # a directory named by hand says which database
        values["data_dir"] = values["data_dir"] or _default_data_dir(source)
        values["log_format"] = values["log_format"] or (
            "text" if values["environment"] is Environment.DEVELOPMENT else "json"
        )
        for name, limit in RATE_LIMITS.items():
            if values[name] is None:
                values[name] = NO_LIMIT if values["environment"] is Environment.DEVELOPMENT else limit
        return cls(**values, inherited=source)

    @property
    def traces(self) -> bool:
        """Whether traces are made and sent to a collector."""
        return self.otlp_endpoint is not None and not self.tracing_disabled

    @property
    def is_development(self) -> bool:
        return self.environment is Environment.DEVELOPMENT

    def child_environ(self, *, without: Collection[str] = (), **changes: str) -> dict[str, str]:
        """
        Return the environment of a child process that shall read the same settings, *changes* (by field) apart.

        Args:
            without: fields that the child is not told, by none of their names.
        """
        environ = {
            **self.inherited,
            "TASKFLOW_ENV": self.environment.value,
            "TASKFLOW_DATA_DIR": str(self.data_dir),
            "TASKFLOW_HOST": self.host,
            "TASKFLOW_PORT": str(self.port),
            "TASKFLOW_WORKER_CONCURRENCY": str(self.worker_concurrency),
            "TASKFLOW_QUEUES": ",".join(self.queues),
            "TASKFLOW_APP": self.app or "",
            "TASKFLOW_LOG_FORMAT": self.log_format,
        }
        known = {setting.field: setting.names[0] for setting in SETTINGS}
        environ |= {known[name]: value for name, value in changes.items()}
        for setting in SETTINGS:
            if setting.field in without:
                for name in setting.names:
                    environ.pop(name, None)
        return environ


def address_of(database_url: str) -> str:
    """Return host, port and name of a database, without user and password."""
    parts = urlsplit(database_url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_loopback(host: str) -> bool:
    """Say whether *host* is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _find(
    setting: Setting, environ: Mapping[str, str], option: str | int | Path | None, shown_as: str
) -> tuple[str, str]:
    """Return where the value comes from and its text; an empty variable counts as not set."""
    if option is not None:
        return shown_as, str(option)
    for name in setting.names:
        if environ.get(name, "").strip():
            return name, environ[name]
    return setting.names[0], setting.default


def usual_data_dir() -> Path | None:
    """Return the data directory that commands use when they are told of none; None if there is no such place."""
    try:
        return _default_data_dir(os.environ)
    except SetupError:
        return None


def _default_data_dir(environ: Mapping[str, str]) -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/taskflow")
    base = environ.get("XDG_DATA_HOME", "")
    if base and Path(base).is_absolute():
        return Path(base) / "taskflow"
    home = environ.get("HOME", "")
    if not home:
        raise SetupError("no home directory is known: say where to keep data with --data-dir")
    return Path(home) / ".local/share/taskflow"
