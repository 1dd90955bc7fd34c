"""The handler of `report`."""

import asyncio
import csv
import io
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import msgspec

from taskflow import kinds
from taskflow.adapters import pdf, typesetting
from taskflow.adapters.typesetting import escape_markdown
from taskflow.engine.client import Engine
from taskflow.engine.registry import JobContext, Registry
from taskflow.files.service import Files
from taskflow.handlers.forced import ForcedFailure
from taskflow.handlers.tally import STATES, Tally
from taskflow.kernel.errors import Permanent
from taskflow.kinds.report import MAX_DAYS, NAME, Durations, MakeReport, ReportMade

MAX_JOBS = 1_000_000
HOURLY_DAYS = 3  # a longer PDF counts by day
MEMORY_LIMIT_MB = 1536
CPU_LIMIT_S = 300
COLUMNS = ("section", "hour", "taskType", "status", "jobs", "p50Ms", "p95Ms", "maxMs", "error")
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_TYPES = {"json": "application/json", "csv": "text/csv", "pdf": "application/pdf"}


def register(registry: Registry, files: Files, engine: Engine, *, retries: int, timeout_s: float) -> None:
    """Offer `report`, which reads what *engine* keeps of jobs and keeps reports with *files*."""

    async def report(ctx: JobContext, payload: MakeReport) -> ReportMade:
        if payload.force_fail:
            raise ForcedFailure
        _check_period(payload)
        tally = Tally()
        jobs = 0
        async with aclosing(
            engine.stream_ended(ctx.namespace, payload.from_, payload.to, limit=MAX_JOBS + 1)
        ) as ended:  # closed at once: it holds a connection
            async for job in ended:
                jobs += 1
                if jobs > MAX_JOBS:
                    raise Permanent(
                        f"over {MAX_JOBS} jobs ended in this period, which is the limit; take a shorter one"
                    )
                tally.add(job)
        ctx.log(f"{jobs} jobs ended in this period")
        content = await asyncio.to_thread(_WRITERS[payload.format], payload, tally)
        kept = await files.keep_bytes(
            content,
            namespace=ctx.namespace,
            name=f"report-{payload.from_.astimezone(UTC):%Y%m%d}-{payload.to.astimezone(UTC):%Y%m%d}.{payload.format}",
            media_type=_TYPES[payload.format],
            job_id=ctx.job_id,
        )
        return ReportMade(file=kept.id, format=payload.format, size=kept.size, summary=tally.summary())

    registry.job(
        NAME,
        queue=kinds.QUEUE,
        retries=retries,
        timeout_s=timeout_s,
        payload=MakeReport,
        isolation="process",
        memory_limit_mb=MEMORY_LIMIT_MB,
        cpu_limit_s=CPU_LIMIT_S,
    )(report)


def write_json(asked: MakeReport, tally: Tally) -> bytes:
    return msgspec.json.encode(
        {
            "from": asked.from_,
            "to": asked.to,
            "summary": tally.summary(),
            "kinds": tally.kinds(),
            "hours": [
                {"hour": hour, "taskType": kind, "status": state, "jobs": jobs}
                for hour, kind, state, jobs in tally.rows()
            ],
            "errors": tally.errors(),
        }
    )


def write_csv(_asked: MakeReport, tally: Tally) -> bytes:
    """One table; *section* says what a line counts: `total`, `kind`, `hour` or `error`."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for line in _csv_lines(tally):
        writer.writerow({name: neutral(value) for name, value in line.items()})
    return out.getvalue().encode()


def write_pdf(asked: MakeReport, tally: Tally) -> bytes:
    document = typesetting.parse("\n".join(_markdown(asked, tally)))
    return pdf.make_pdf(document, title="Jobs", page_size="a4", pictures={}).content


_WRITERS = {"json": write_json, "csv": write_csv, "pdf": write_pdf}


def neutral(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: text that could begin one gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value


def _csv_lines(tally: Tally) -> Iterator[dict[str, object]]:
    summary = tally.summary()
    for state in STATES:
        times = _csv_durations(summary.durations) if state == "completed" else {}
        yield {"section": "total", "status": state, "jobs": getattr(summary, state), **times}
    for kind in tally.kinds():
        for state in STATES:
            line: dict[str, object] = {"section": "kind", "taskType": kind.task_type, "status": state}
            times = _csv_durations(kind.durations) if state == "completed" else {}
            yield {**line, "jobs": getattr(kind, state), **times}
    for hour, name, state, jobs in tally.rows():
        yield {"section": "hour", "hour": _iso(hour), "taskType": name, "status": state, "jobs": jobs}
    for error in tally.errors():
        yield {
            "section": "error",
            "taskType": error.task_type,
            "status": "failed",
            "jobs": error.jobs,
            "error": error.error,
        }


def _csv_durations(durations: Durations) -> dict[str, object]:
    named = {"p50Ms": durations.p50_ms, "p95Ms": durations.p95_ms, "maxMs": durations.max_ms}
    return {name: value for name, value in named.items() if value is not None}


def _markdown(asked: MakeReport, tally: Tally) -> Iterator[str]:
    summary = tally.summary()
    yield f"Jobs that ended from {_iso(asked.from_)} to {_iso(asked.to)}."
    yield "\n| | jobs |\n|:--|--:|"
    yield f"| all | {summary.jobs} |"
    for state in STATES:
        yield f"| {state} | {getattr(summary, state)} |"
    yield f"\n## By kind\n\n| kind | {' | '.join(STATES)} | p50 | p95 | longest |\n|:--|--:|--:|--:|--:|--:|--:|"
    for kind in tally.kinds():
        counts = " | ".join(str(getattr(kind, state)) for state in STATES)
        yield f"| {escape_markdown(kind.task_type)} | {counts} | {_shown(kind.durations)} |"
    yield "\nDurations are those of the last attempts of completed jobs."
    unit = "hour" if asked.to - asked.from_ <= timedelta(days=HOURLY_DAYS) else "day"
    yield f"\n## By {unit}\n\n| {unit} (UTC) | jobs |\n|:--|--:|"
    for at, jobs in sorted(tally.by(unit).items()):
        yield f"| {at.replace('T', ' ')}{':00' if unit == 'hour' else ''} | {jobs} |"
    yield "\n## Failures\n"
    if not summary.errors:
        yield "None."
        return
    yield "| jobs | kind | error |\n|--:|:--|:--|"
    for error in summary.errors:
        yield f"| {error.jobs} | {escape_markdown(error.task_type)} | {escape_markdown(error.error)} |"


def _shown(durations: Durations) -> str:
    values = (durations.p50_ms, durations.p95_ms, durations.max_ms)
    return " | ".join("-" if value is None else f"{value:,.1f} ms" for value in values)


def _check_period(asked: MakeReport) -> None:
    if asked.to <= asked.from_:
        raise Permanent("'to' must be after 'from'")
    if asked.to - asked.from_ > timedelta(days=MAX_DAYS):
        raise Permanent(f"a report covers at most {MAX_DAYS} days, this one {(asked.to - asked.from_).days}")


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
