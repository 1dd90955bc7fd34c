"""What `taskflow jobs submit`, `cancel` and `retry` do with the services, and what they print."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import typer

from taskflow.apps.cli.filing import check_readable, files_of, upload_one
from taskflow.apps.cli.output import Output, clean, span
from taskflow.apps.cli.session import MISUSED, REFUSED, Failure, Session, complain, describe
from taskflow.apps.names import remarks_on_queues
from taskflow.db.pool import OUTAGE_ERRORS
from taskflow.engine.job import Enqueued, Job, JobId, NewJob, State
from taskflow.engine.record import Hindrance
from taskflow.jobs.schemas import JobView, view_of_job, view_of_new
from taskflow.kernel.errors import AlreadyFinal, Conflict, DomainError, EngineError, NotFound

FIRST_LOOK_S, SLOWEST_LOOK_S = 0.02, 0.5
UNCLAIMED_S = 3.0  # a job that is ready for so long may have nobody to run it
MAX_RESULT_CHARS = 1000  # of a result among the lines of progress


async def submit(
    session: Session,
    data: dict[str, Any],
    files: Sequence[str],
    *,
    wait: bool,
    timeout_s: float | None,
    as_json: bool,
) -> None:
    """
    Store a job and print its id; with *wait*, follow it to its end.

    Args:
        files: `FIELD=PATH`: files to upload, and the fields of the payload that get their ids.

    Raises:
        Failure: a file cannot be had, or the job was followed and did not complete.
    """
    async with session.engine:
        remarks = await remarks_on_queues(session.engine, [data["queue"]] if "queue" in data else [])
        job, stored = await _store(session, data, files)
        for remark in remarks:
            complain(remark)
        out = Output(stored.created_at)
        if not as_json:
            out.line(str(stored.id))
        elif not wait and stored.duplicate:
            out.json(view_of_job(await session.jobs.get_job(session.principal, stored.id), duplicate=True))
        elif not wait:
            out.json(view_of_new(job, stored))
        if stored.duplicate:
            _remark("nothing was stored: this job holds the unique key")
        sys.stdout.flush()
    if wait:
        await _wait(session, stored.id, out, timeout_s=timeout_s, as_json=as_json)
    elif not as_json and out.is_terminal and not stored.duplicate:
        due = f", due {out.time(stored.run_at)}" if stored.state is State.SCHEDULED else ""
        _remark(f"{clean(job.kind)} is {stored.state} in queue {clean(job.queue)}{due}")


async def _store(session: Session, data: dict[str, Any], files: Sequence[str]) -> tuple[NewJob, Enqueued]:
    """Check all that can be checked, upload the job's files, and store it; nothing is left of them if it is not."""
    sources = _read_files(data["payload"], files)
    for field in sources:
        data["payload"][field] = str(uuid4())  # of the form that an id has
    job = await session.jobs.prepare(session.principal, data, {})
    uploaded: list[UUID] = []
    try:
        for field, source in sources.items():
            uploaded.append((await upload_one(session, source)).id)
            data["payload"][field] = str(uploaded[-1])
        if uploaded:
            job = await session.jobs.prepare(session.principal, data, {})
        stored = await session.jobs.submit(job)
    except (DomainError, EngineError, Failure):  # not an outage: there the job may have been stored
        await _take_back(session, uploaded)
        raise
    if stored.duplicate:
        await _take_back(session, uploaded)
    return job, stored


def _read_files(payload: object, files: Sequence[str]) -> dict[str, Path]:
    """
    Return what `FIELD=PATH` names.

    Raises:
        Failure: a text is none of that form, the field is there already, or the file cannot be read.
    """
    wanted: dict[str, Path] = {}
    for text in files:
        field, is_pair, path = text.partition("=")
        if not is_pair or not field or not path:
            raise Failure(f"--file: must be FIELD=PATH, got {text!r}", MISUSED)
        if not isinstance(payload, dict) or field in payload or field in wanted:
            raise Failure(f"--file: the payload has a field {field!r} already, or is no JSON object", MISUSED)
        wanted[field] = Path(path)
        check_readable(wanted[field])
    return wanted


async def _take_back(session: Session, uploaded: Sequence[UUID]) -> None:
    for file_id in uploaded:
        with suppress(NotFound):
            await files_of(session).delete(file_id, namespace=session.principal.namespace)
        complain(f"file {file_id} was uploaded for this job, and has been deleted again")


async def act_on_each(
    session: Session,
    job_ids: Sequence[str],
    act: Callable[[Session, str], Awaitable[JobView]],
    *,
    as_json: bool,
) -> None:
    """
    Do something to jobs one by one and say what became of each, refusals on stderr.

    Raises:
        typer.Exit: some were refused.
    """
    out = Output(session.now)
    items: list[JobView] = []
    errors: list[dict[str, str]] = []
    try:
        async with session.engine:
            for job_id in job_ids:
                try:
                    view = await act(session, job_id)
                except (NotFound, Conflict, AlreadyFinal) as error:
                    code = "already_final" if isinstance(error, AlreadyFinal) else error.code
                    errors.append({"jobId": job_id, "code": code, "detail": describe(error)})
                    complain(describe(error) if isinstance(error, NotFound) else f"{job_id}: {describe(error)}")
                    continue
                items.append(view)
                if not as_json:
                    asked = "  cancel requested" if view.cancel_requested_at is not None else ""
                    out.line(f"{view.job_id}  {view.status}{asked}")
    finally:
        if as_json:  # also when the database went away on the way: this is what has been done
            out.json({"items": items, "errors": errors})
    if errors:
        raise typer.Exit(REFUSED)


async def _wait(session: Session, job_id: JobId, out: Output, *, timeout_s: float | None, as_json: bool) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await _follow(session, job_id)
    except TimeoutError:
        pass
    except asyncio.CancelledError:
        complain(f"stopped watching; the job goes on: taskflow jobs show {job_id}")
        raise
    job, attempts = await session.jobs.get_job_with_attempts(session.principal, job_id)
    if as_json:
        out.json(view_of_job(job, attempts))
    match job.state:
        case State.COMPLETED:
            return
        case State.FAILED:
            reason = f" ({job.failure_reason})" if job.failure_reason else ""
            raise Failure(f"job {job_id} failed{reason}{_because(job)}")
        case State.CANCELLED:
            raise Failure(f"job {job_id} was cancelled")
        case state:
            raise Failure(f"job {job_id} is still {state} after {timeout_s:g} s; it goes on")


async def _follow(session: Session, job_id: JobId) -> None:
    """Watch the job until it ends; each change is a line on stderr."""
    began_s = time.monotonic()
    seen: tuple[State, int] | None = None
    ready_since_s = began_s
    warned = away = False
    for pause_s in _pauses_s():
        try:
            job = await session.jobs.get_job(session.principal, job_id)
            away = False
            if (job.state, job.attempt) != seen:
                seen = job.state, job.attempt
                ready_since_s = time.monotonic()
                _progress(began_s, _describe_state(session, job))
            if job.state.is_terminal:
                return
            if job.state is State.PENDING and not warned and time.monotonic() - ready_since_s > UNCLAIMED_S:
                warned = True
                hindrance = await session.engine.find_hindrance(job)
                if hindrance is not None:
                    start = f"; to start one: taskflow worker --queues {job.queue}"
                    advice = start if hindrance is Hindrance.NO_WORKER else ""
                    _progress(began_s, f"{hindrance.describe(job)}{advice}")
        except OUTAGE_ERRORS as error:
            if not away:
                _progress(began_s, f"the database is away, looking again: {describe(error)}")
            away = True
        await asyncio.sleep(pause_s)


def _describe_state(session: Session, job: Job) -> str:
    match job.state:
        case State.PENDING:
            return f"pending in queue {job.queue}"
        case State.ACTIVE:
            return f"active, attempt {job.attempt}"
        case State.SCHEDULED | State.RETRYING if job.run_at is not None:
            due = f"in {span(max((job.run_at - session.now).total_seconds(), 0.0))}"
            return f"{job.state} {due}{_because(job) if job.state is State.RETRYING else ''}"
        case State.COMPLETED:
            result = msgspec.json.encode(job.result).decode()
            cut = f"{result[:MAX_RESULT_CHARS]} … --json shows all" if len(result) > MAX_RESULT_CHARS else result
            return f"completed: {cut}"
        case state:
            return str(state)


def _because(job: Job) -> str:
    if job.error is None:
        return ""
    view = view_of_job(job)
    return f": {view.error_type}: {view.error}" if view.error else f": {view.error_type}"


def _progress(began_s: float, text: str) -> None:
    _remark(f"{time.monotonic() - began_s:7.2f}s  {text}")


def _remark(text: str) -> None:
    typer.echo(clean(text), err=True)


def _pauses_s() -> Iterator[float]:
    pause_s = FIRST_LOOK_S
    while True:
        yield pause_s
        pause_s = min(pause_s * 1.5, SLOWEST_LOOK_S)
