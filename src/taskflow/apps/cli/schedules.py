"""`taskflow schedules`: list, show, create, update, delete, pause, resume, preview, run-now."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from taskflow.apps.cli.arguments import number, read_payload
from taskflow.apps.cli.grammar import Commands
from taskflow.apps.cli.session import EXITS, MISUSED, WHERE, AsJson, DatabaseUrl, DataDir, Failure, Session, ending, run

NAMES = {
    "name": "NAME",
    "taskType": "TASK_TYPE",
    "payload": "PAYLOAD",
    "cron": "--cron",
    "timezone": "--timezone",
    "every": "--every",
    "catchup": "--catchup",
    "overlap": "--overlap",
    "priority": "--priority",
    "retries": "--retries",
    "timeout": "--timeout-ms",
    "queue": "--queue",
    "tags": "--tag",
    "callbackUrl": "--callback-url",
    "ttl": "--ttl-ms",
    "uniqueKey": "--unique-key",
    "uniqueScope": "--unique-scope",
    "uniqueWindow": "--unique-window-ms",
    "limit": "--limit",
}
CHANGE_NAMES = {**NAMES, "name": "--name", "taskType": "--task-type", "payload": "--payload"}

_DURATION = re.compile("".join(f"(?:([0-9]{{1,9}}){unit})?" for unit in ("d", "h", "m", "s", "ms")), re.ASCII)
_UNITS_MS = (86_400_000, 3_600_000, 60_000, 1000, 1)

group = Commands(
    help=f"Submit jobs again and again, at times that a rule gives.\n\n{WHERE}\n\n{EXITS}",
    short_help="Submit jobs again and again, at times that a rule gives.",
)

Which = Annotated[str, typer.Argument(metavar="SCHEDULE", help="Its id or its name.", show_default=False)]
Cron = Annotated[
    str | None, typer.Option(metavar="CRON", help="Minute, hour, day, month, weekday; or @daily and the like.")
]
Timezone = Annotated[
    str | None, typer.Option(metavar="ZONE", help="IANA time zone that --cron is read in. [default: UTC]")
]
Every = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Between two jobs, such as 90s, 15m or 1d12h; instead of --cron."),
]
EveryMs = Annotated[str | None, typer.Option(metavar="MS", hidden=True)]
Catchup = Annotated[
    str | None,
    typer.Option(metavar="WHAT", help="After an outage make up for the latest time, all (10), or none."),
]
Overlap = Annotated[
    str | None, typer.Option(metavar="WHAT", help="skip a time while the job before has not ended, or allow both.")
]
Priority = Annotated[
    str | None, typer.Option(metavar="PRIORITY", help="high, normal, low, or 0 to 9; kind: as the kind says.")
]
Retries = Annotated[
    str | None, typer.Option(metavar="N", help="Attempts after the first that fails; kind: as the kind says.")
]
TimeoutMs = Annotated[
    str | None, typer.Option(metavar="MS", help="How long one attempt may run; kind: as the kind says.")
]
Queue = Annotated[str | None, typer.Option(metavar="QUEUE", help="Another queue than the kind's own.")]
Tag = Annotated[list[str] | None, typer.Option(metavar="TAG", help="A word to find its jobs by; may be repeated.")]

CallbackUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Is told of the end of each of its jobs; none: nobody is.")
]
TtlMs = Annotated[
    str | None, typer.Option(metavar="MS", help="Its jobs expire, so long from the submit; none: they do not.")
]
UniqueKey = Annotated[
    str | None, typer.Option(metavar="KEY", help="Skip a time while another job holds this key; none: no key.")
]
UniqueScope = Annotated[
    str | None, typer.Option(metavar="SCOPE", help="Hold the key until_finished, until_claimed, or for a window.")
]
UniqueWindowMs = Annotated[str | None, typer.Option(metavar="MS", help="How long, with the scope window.")]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="schedules")


@group.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    List schedules, newest first.

    Example:

        taskflow schedules list
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.timetable import show_schedules

        await show_schedules(session, limit=limit, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url)


@group.command()
def show(which: Which, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Show a schedule: its job, when it fires next, and what became of its latest times.

    All times are by the clock of its zone, with their distance from UTC.

    Example:

        taskflow schedules show "morning mail"
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.timetable import show_schedule

        await show_schedule(session, which, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url)


@group.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="To know it by; no two have the same.")],
    task_type: Annotated[str, typer.Argument(metavar="TASK_TYPE", help="A kind that workers offer.")],
    payload: Annotated[
        str, typer.Argument(metavar="PAYLOAD", help="JSON text, `@file.json`, or `-` for standard input.")
    ] = "{}",
    cron: Cron = None,
    timezone: Timezone = None,
    every: Every = None,
    every_ms: EveryMs = None,
    catchup: Catchup = None,
    overlap: Overlap = None,
    paused: Annotated[bool, typer.Option("--paused", help="Do not fire it until it is resumed.")] = False,
    priority: Priority = None,
    retries: Retries = None,
    timeout_ms: TimeoutMs = None,
    queue: Queue = None,
    tag: Tag = None,
    callback_url: CallbackUrl = None,
    ttl_ms: TtlMs = None,
    unique_key: UniqueKey = None,
    unique_scope: UniqueScope = None,
    unique_window_ms: UniqueWindowMs = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Make a schedule; its id is printed. What it says of its job is checked as if the job were submitted now.

    Examples:

        taskflow schedules create morning send_email @mail.json --cron "30 7 * * MON-FRI" --timezone Europe/Berlin
        taskflow schedules create beat send_email @mail.json --every 5m --catchup none --overlap allow
    """
    with ending():
        data: dict[str, Any] = {"name": name, "taskType": task_type, "payload": read_payload(payload)}
        data |= {"paused": paused, "tags": tag or []}
        data |= _given(
            cron=cron, timezone=timezone, every=_every_ms(every, every_ms), catchup=catchup, overlap=overlap,
            priority=priority, retries=retries, timeout=timeout_ms, queue=queue,
            callbackUrl=callback_url, ttl=ttl_ms,
            uniqueKey=unique_key, uniqueScope=unique_scope, uniqueWindow=unique_window_ms,
        )  # fmt: skip

    async def work(session: Session) -> None:
        from taskflow.apps.cli.timetable import make_schedule

        await make_schedule(session, data, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url, names=_names(NAMES, every_ms))


@group.command()
def update(
    which: Which,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="A new name.")] = None,
    task_type: Annotated[str | None, typer.Option(metavar="TASK_TYPE", help="Another kind.")] = None,
    payload: Annotated[
        str | None, typer.Option(metavar="PAYLOAD", help="JSON text, `@file.json`, or `-`; replaces the whole.")
    ] = None,
    cron: Cron = None,
    timezone: Timezone = None,
    every: Every = None,
    every_ms: EveryMs = None,
    catchup: Catchup = None,
    overlap: Overlap = None,
    priority: Priority = None,
    retries: Retries = None,
    timeout_ms: TimeoutMs = None,
    queue: Queue = None,
    tag: Tag = None,
    callback_url: CallbackUrl = None,
    ttl_ms: TtlMs = None,
    unique_key: UniqueKey = None,
    unique_scope: UniqueScope = None,
    unique_window_ms: UniqueWindowMs = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Change what is named, and nothing else. New times count from now on.

    Examples:

        taskflow schedules update "morning mail" --cron "0 8 * * MON-FRI"
        taskflow schedules update beat --priority low --retries kind
        taskflow schedules update beat --unique-key beat --callback-url none
    """
    with ending():
        data = _given(
            name=name, taskType=task_type, cron=cron, timezone=timezone, every=_every_ms(every, every_ms),
            catchup=catchup, overlap=overlap, priority=priority, retries=retries, timeout=timeout_ms, queue=queue,
            callbackUrl=callback_url, ttl=ttl_ms,
            uniqueKey=unique_key, uniqueScope=unique_scope, uniqueWindow=unique_window_ms,
        )  # fmt: skip
        if payload is not None:
            data["payload"] = read_payload(payload)
        if tag is not None:
            data["tags"] = tag
        if not data:
            raise Failure("name something that is to be different; --help lists what there is", MISUSED)

    async def work(session: Session) -> None:
        from taskflow.apps.cli.timetable import change_schedule

        await change_schedule(session, which, data, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url, names=_names(CHANGE_NAMES, every_ms))


@group.command()
def delete(which: Which, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Delete a schedule. Jobs that it submitted go on.

    Example:

        taskflow schedules delete "morning mail"
    """
    _act(which, "delete", as_json=False, data_dir=data_dir, database_url=database_url)


@group.command()
def pause(which: Which, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Fire a schedule no more until it is resumed.

    Example:

        taskflow schedules pause "morning mail"
    """
    _act(which, "pause", as_json=as_json, data_dir=data_dir, database_url=database_url)


@group.command()
def resume(which: Which, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Fire a paused schedule again, from its next time on.

    Example:

        taskflow schedules resume "morning mail"
    """
    _act(which, "resume", as_json=as_json, data_dir=data_dir, database_url=database_url)


@group.command("run-now")
def run_now(which: Which, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Submit a schedule's job now, paused or not; the job's id is printed. Its times stay as they are.

    Example:

        taskflow schedules run-now "morning mail"
    """
    _act(which, "run-now", as_json=as_json, data_dir=data_dir, database_url=database_url)


@group.command()
def preview(
    cron: Cron = None,
    timezone: Timezone = None,
    every: Every = None,
    every_ms: EveryMs = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Show the next five times of a rule, by the database's clock; nothing is stored.

    Examples:

        taskflow schedules preview --cron "30 2 * * *" --timezone America/New_York
        taskflow schedules preview --every 90s
    """
    with ending():
        data = _given(cron=cron, timezone=timezone, every=_every_ms(every, every_ms))

    async def work(session: Session) -> None:
        from taskflow.apps.cli.timetable import show_preview

        await show_preview(session, data, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url, names=_names(NAMES, every_ms))


def _act(which: str, verb: str, *, as_json: bool, data_dir: Any, database_url: str | None) -> None:
    async def work(session: Session) -> None:
        from taskflow.apps.cli.timetable import act

        await act(session, which, verb, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url)


def _every_ms(every: str | None, every_ms: str | None) -> str | None:
    """Return the milliseconds of `--every`, or those of `--every-ms`. Raises Failure: *every* is no duration."""
    if every is None:
        return every_ms
    if every_ms is not None:
        raise Failure("--every-ms: give --every alone", MISUSED)
    found = _DURATION.fullmatch(every)
    if not every or found is None:
        raise Failure(f"--every: must be a time such as 90s, 15m or 1d12h, got {every!r}", MISUSED)
    return str(sum(int(number) * unit for number, unit in zip(found.groups("0"), _UNITS_MS, strict=True)))


def _names(names: Mapping[str, str], every_ms: str | None) -> Mapping[str, str]:
    """Return *names* with the option that was typed."""
    return names if every_ms is None else {**names, "every": "--every-ms"}


def _given(**options: str | None) -> dict[str, Any]:
    """Return what was given, in the words of the API: numbers as numbers, `kind` or `none` as null."""
    numbers = ("every", "priority", "retries", "timeout", "ttl", "uniqueWindow")
    nullable = {
        **dict.fromkeys(("priority", "retries", "timeout", "queue"), "kind"),
        **dict.fromkeys(("callbackUrl", "ttl", "uniqueKey"), "none"),
    }
    found: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        if nullable.get(name) == value:
            found[name] = None
        else:
            found[name] = number(value) if name in numbers else value
    return found
