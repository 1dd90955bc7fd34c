"""`taskflow jobs`: submit, list, show, logs, change, run-now, cancel, retry, bulk."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from taskflow.apps.cli import completion
from taskflow.apps.cli.arguments import given, number, read_payload
from taskflow.apps.cli.bulk import FILTER_NAMES, CreatedFrom, CreatedTo, OfKind, OfQueue, WithTag, bulk
from taskflow.apps.cli.grammar import Commands
from taskflow.apps.cli.session import (
    EXITS,
    MISUSED,
    WHERE,
    AsJson,
    DatabaseUrl,
    DataDir,
    Failure,
    Session,
    ending,
    run,
)

if TYPE_CHECKING:
    from taskflow.jobs.schemas import JobView

MAX_WAIT_S = 7 * 24 * 3600
SUBMIT_NAMES = {
    "taskType": "TASK_TYPE",
    "payload": "PAYLOAD",
    "priority": "--priority",
    "retries": "--retries",
    "timeout": "--timeout-ms",
    "delay": "--delay-ms",
    "runAt": "--run-at",
    "queue": "--queue",
    "tags": "--tag",
    "expiresAt": "--expires-at",
    "ttl": "--ttl-ms",
    "uniqueKey": "--unique-key",
    "uniqueScope": "--unique-scope",
    "uniqueWindow": "--unique-window-ms",
    "callbackUrl": "--callback-url",
}
LIST_NAMES = {**FILTER_NAMES, "limit": "--limit", "cursor": "--cursor"}

group = Commands(
    help=f"Submit jobs, look at them, cancel them, run them again.\n\n{WHERE}\n\n{EXITS}",
    short_help="Submit jobs, look at them, cancel them, run them again.",
)

JobIds = Annotated[list[str], typer.Argument(metavar="ID", help="Whole ids of jobs.", show_default=False)]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The whole id of a job.", show_default=False)]
DelayMs = Annotated[str | None, typer.Option(metavar="MS", help="Not before so long from now.")]
RunAt = Annotated[str | None, typer.Option(metavar="INSTANT", help="Not before then; ISO 8601 with a time zone.")]


def register(app: typer.Typer) -> None:
    group.command()(bulk)
    app.add_typer(group, name="jobs")


@group.command()
def submit(
    task_type: Annotated[
        str,
        typer.Argument(
            metavar="TASK_TYPE", help="A kind that workers offer.", autocompletion=completion.built_in_kinds
        ),
    ],
    payload: Annotated[
        str, typer.Argument(metavar="PAYLOAD", help="JSON text, `@file.json`, or `-` for standard input.")
    ] = "{}",
    priority: Annotated[
        str | None,
        typer.Option(
            metavar="PRIORITY",
            help="high, normal, low, or 0 to 9 (higher first).",
            autocompletion=completion.priorities,
        ),
    ] = None,
    retries: Annotated[
        str | None, typer.Option(metavar="N", help="Attempts after the first that fails, 0 to 10.")
    ] = None,
    timeout_ms: Annotated[str | None, typer.Option(metavar="MS", help="How long one attempt may run.")] = None,
    delay_ms: DelayMs = None,
    run_at: RunAt = None,
    queue: Annotated[str | None, typer.Option(metavar="QUEUE", help="Another queue than the kind's own.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="A word to find it by; give it again for more.")
    ] = None,
    callback_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Is told when the job has completed, failed or been cancelled.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="Fail if no worker has started it by then; with a time zone.")
    ] = None,
    ttl_ms: Annotated[str | None, typer.Option(metavar="MS", help="The same, so long from the submit.")] = None,
    unique_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Of this kind's jobs one holds it; a second submit gives that job."),
    ] = None,
    unique_scope: Annotated[
        str | None,
        typer.Option(
            metavar="SCOPE", help="How long: until_finished, until_claimed or window. [default: until_finished]"
        ),
    ] = None,
    unique_window_ms: Annotated[str | None, typer.Option(metavar="MS", help="How long, with the scope window.")] = None,
    files: Annotated[
        list[str] | None,
        typer.Option(
            "--file",
            metavar="FIELD=PATH",
            help="Upload a file and put its id into that field of the payload; give it again for more.",
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Follow the job to its end; exit code 0 only if it completes.")
    ] = False,
    timeout_s: Annotated[
        float | None, typer.Option(metavar="S", help="With --wait: give up watching after so long; the job goes on.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Submit a job; its id is printed.

    The payload is checked as the API checks it, before anything is stored or uploaded. What is left out comes from the
    kind. With --wait, progress goes to stderr, so that stdout holds the id alone, or with --json the job as it ended.

    Examples:

        taskflow jobs submit send_email @mail.json --priority high
        taskflow jobs submit send_email @mail.json --wait --timeout-s 30
        taskflow jobs submit send_email @mail.json --delay-ms 60000 --tag news
        taskflow jobs submit resize_image '{"width": 640}' --file file=photo.jpg --wait
        echo '{"to": "ada@example.org", "subject": "Hi", "body": "Hello."}' \\
          | taskflow jobs submit send_email -
    """

    with ending():
        if timeout_s is not None and not wait:
            raise Failure("--timeout-s: goes with --wait; --timeout-ms limits an attempt", MISUSED)
        if timeout_s is not None and not 0 < timeout_s <= MAX_WAIT_S:
            raise Failure(f"--timeout-s: must be above 0 and at most {MAX_WAIT_S}, got {timeout_s:g}", MISUSED)
        data: dict[str, Any] = {"taskType": task_type, "payload": read_payload(payload), "tags": tag or []}
    options = {
        "priority": number(priority),
        "retries": number(retries),
        "timeout": number(timeout_ms),
        "delay": number(delay_ms),
        "runAt": run_at,
        "queue": queue,
        "expiresAt": expires_at,
        "ttl": number(ttl_ms),
        "uniqueKey": unique_key,
        "uniqueScope": unique_scope,
        "uniqueWindow": number(unique_window_ms),
        "callbackUrl": callback_url,
    }
    data |= given(options)

    async def work(session: Session) -> None:
        from taskflow.apps.cli.submission import submit

        await submit(session, data, files or [], wait=wait, timeout_s=timeout_s, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url, names=SUBMIT_NAMES)


@group.command("list")
def list_(
    status: Annotated[
        str | None,
        typer.Option(
            metavar="STATUS",
            help="pending, scheduled, retrying, active, completed, failed or cancelled.",
            autocompletion=completion.statuses,
        ),
    ] = None,
    task_type: OfKind = None,
    queue: OfQueue = None,
    tag: WithTag = None,
    created_from: CreatedFrom = None,
    created_to: CreatedTo = None,
    limit: Annotated[str | None, typer.Option(metavar="N", help="At most so many, 1 to 200. [default: 50]")] = None,
    cursor: Annotated[
        str | None,
        typer.Option(
            metavar="CURSOR", help="Go on where a list ended; its last line says how. Not a cursor of the API."
        ),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    List jobs, newest first.

    A narrow terminal shows fewer columns, a pipe gets all of them. --json gives `{"items": […], "nextCursor": …}`.

    Examples:

        taskflow jobs list --status failed
        taskflow jobs list --task-type send_email --from 2026-11-23T00:00:00Z
        taskflow jobs list --status failed --json | jq -r '.items[].jobId' \\
          | xargs taskflow jobs retry
    """
    asked = {
        "status": status,
        "taskType": task_type,
        "queue": queue,
        "tag": tag,
        "from": created_from,
        "to": created_to,
        "limit": limit,
        "cursor": cursor,
    }

    async def work(session: Session) -> None:
        from taskflow.apps.cli.view import show_page

        await show_page(session, given(asked), as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url, names=LIST_NAMES)


@group.command()
def show(job_id: JobId, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Show a job: its state, payload, result or error, and its attempts.

    Examples:

        taskflow jobs show 019ab123-4567-7abc-8def-0123456789ab
        taskflow jobs show 019ab123-4567-7abc-8def-0123456789ab --json | jq .result
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.view import show_job

        await show_job(session, job_id, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url)


@group.command()
def logs(
    job_id: JobId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with lines as they are written, until the job has ended.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Print the lines that a job's handler wrote, oldest first.

    With --follow, --json gives a document a line.

    Examples:

        taskflow jobs logs 019ab123-4567-7abc-8def-0123456789ab
        taskflow jobs logs --follow 019ab123-4567-7abc-8def-0123456789ab
        taskflow jobs logs 019ab123-4567-7abc-8def-0123456789ab | grep warning
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.view import follow_logs, show_logs

        await (follow_logs if follow else show_logs)(session, job_id, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url)


@group.command()
def change(
    job_id: JobId,
    priority: Annotated[
        str | None, typer.Option(metavar="PRIORITY", help="high, normal, low, or 0 to 9 (higher first).")
    ] = None,
    delay_ms: DelayMs = None,
    run_at: RunAt = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Change a job before it is active: its priority, when it is due.

    Examples:

        taskflow jobs change 019ab123-4567-7abc-8def-0123456789ab --priority high
        taskflow jobs change 019ab123-4567-7abc-8def-0123456789ab --delay-ms 3600000
    """
    said = {"priority": number(priority), "delay": number(delay_ms), "runAt": run_at}

    async def change_one(session: Session, text: str) -> "JobView":
        from taskflow.jobs.schemas import view_of_job
        from taskflow.jobs.service import job_id_of

        wanted = session.jobs.check_change(given(said))
        return view_of_job(await session.jobs.change(session.principal, job_id_of(text), wanted))

    _for_each([job_id], change_one, as_json=as_json, data_dir=data_dir, database_url=database_url)


@group.command("run-now")
def run_now(
    job_ids: JobIds, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """
    Make jobs pending that are scheduled, or that wait for their retry.

    Examples:

        taskflow jobs run-now 019ab123-4567-7abc-8def-0123456789ab
    """

    async def run_one(session: Session, text: str) -> "JobView":
        from taskflow.jobs.schemas import view_of_job
        from taskflow.jobs.service import job_id_of

        return view_of_job(await session.jobs.run_now(session.principal, job_id_of(text)))

    _for_each(job_ids, run_one, as_json=as_json, data_dir=data_dir, database_url=database_url)


@group.command()
def cancel(
    job_ids: JobIds, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """
    Cancel jobs.

    A job that waits is cancelled at once. Of a job that runs, the worker is asked to stop it: it stays active until
    its handler has ended. Each job is a case of its own; the exit code is 1 if any of them could not be cancelled.
    --json gives `{"items": […], "errors": […]}`.

    Examples:

        taskflow jobs cancel 019ab123-4567-7abc-8def-0123456789ab
        taskflow jobs list --status scheduled --json | jq -r '.items[].jobId' \\
          | xargs taskflow jobs cancel
    """

    async def cancel_one(session: Session, text: str) -> "JobView":
        from taskflow.jobs.schemas import view_of_job
        from taskflow.jobs.service import job_id_of

        found = job_id_of(text)
        await session.jobs.cancel(session.principal, found)
        return view_of_job(await session.jobs.get_job(session.principal, found))

    _for_each(job_ids, cancel_one, as_json=as_json, data_dir=data_dir, database_url=database_url)


@group.command()
def retry(job_ids: JobIds, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Run failed jobs again.

    The same job becomes pending: its history is kept, its failures are forgiven. Each job is a case of its own; the
    exit code is 1 if any of them could not be retried. --json gives `{"items": […], "errors": […]}`.

    Examples:

        taskflow jobs retry 019ab123-4567-7abc-8def-0123456789ab
        taskflow jobs list --status failed --json | jq -r '.items[].jobId' \\
          | xargs taskflow jobs retry
    """

    async def retry_one(session: Session, text: str) -> "JobView":
        from taskflow.jobs.schemas import view_of_job
        from taskflow.jobs.service import job_id_of

        return view_of_job(await session.jobs.replay(session.principal, job_id_of(text)))

    _for_each(job_ids, retry_one, as_json=as_json, data_dir=data_dir, database_url=database_url)


def _for_each(
    job_ids: Sequence[str],
    act: Callable[[Session, str], Awaitable["JobView"]],
    *,
    as_json: bool,
    data_dir: Path | None,
    database_url: str | None,
) -> None:
    async def work(session: Session) -> None:
        from taskflow.apps.cli.submission import act_on_each

        await act_on_each(session, job_ids, act, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url, names=SUBMIT_NAMES)
