"""What `taskflow stats` reads, and how it is laid out: tables, and a bar for each hour or day."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from taskflow.apps.cli.output import STATE_STYLES, Column, Output, clean, plural, span
from taskflow.apps.cli.session import Session
from taskflow.engine.statistics import Statistics
from taskflow.stats.schemas import GroupView, LatencyView, PointView, StatsView
from taskflow.stats.service import Stats, read_asked

BAR_CELLS = 30
_EIGHTHS = " ▏▎▍▌▋▊▉"
_LIVE = ("pending", "scheduled", "retrying", "active")

STATUS_COLUMN = Column("STATUS", style=lambda cell: STATE_STYLES.get(cell, ""))
LIVE_COLUMNS = (Column("QUEUE", least=10), *(Column(state.upper(), right=True) for state in _LIVE))
GROUP_COLUMNS = (
    Column("", least=12),
    Column("COMPLETED", right=True),
    Column("FAILED", right=True, style=lambda cell: "" if cell in ("0", "-") else "red"),
    Column("CANCELLED", rank=3, right=True),
    Column("SUCCESS", rank=1, right=True),
    Column("RUN p50", rank=2, right=True),
    Column("p95", rank=4, right=True),
    Column("p99", rank=5, right=True),
    Column("WAIT p50", rank=6, right=True),
    Column("p95", rank=7, right=True),
)
SERIES_COLUMNS = (
    Column("SINCE"),
    Column("COMPLETED", right=True),
    Column("FAILED", right=True, style=lambda cell: "" if cell in ("0", "-") else "red"),
    Column("", rank=1, style=lambda _: "green"),
)


async def show_stats(session: Session, asked: Mapping[str, str], *, as_json: bool) -> None:
    stats = Stats(Statistics(session.database), lasts=False)
    view = await stats.read(session.principal, read_asked(asked))
    out = Output(session.now)
    if as_json:
        out.json(view)
        return
    out.facts(_facts(out, view))
    _title(out, "jobs now")
    out.table((STATUS_COLUMN, Column("JOBS", right=True)), list(_states(view, are_live=True)))
    if view.live:
        _title(out, "jobs now, by queue")
        rows = [(clean(queue.queue), *(f"{getattr(queue, state):,}" for state in _LIVE)) for queue in view.live]
        out.table(LIVE_COLUMNS, rows)
    _title(out, "ends of jobs in the window")
    out.table((STATUS_COLUMN, Column("ENDS", right=True)), list(_states(view, are_live=False)))
    for header, groups in (("QUEUE", view.queues), ("TYPE", view.task_types)):
        if groups:
            _title(out, f"ends of jobs in the window, by {header.lower()}")
            out.table((Column(header, least=12), *GROUP_COLUMNS[1:]), [_group_row(group) for group in groups])
    if any(point.completed or point.failed for point in view.series):
        _title(out, f"ends of jobs in the window, by {view.period}")
        out.table(SERIES_COLUMNS, list(_series(view)))


def _facts(out: Output, view: StatsView) -> list[tuple[str, str, str]]:
    workers = f"{plural(view.workers.active, 'worker')}, {plural(view.workers.concurrency, 'job')} at once"
    if view.uptime.workers is not None:
        workers += f", up for {span(view.uptime.workers / 1000)}"
    return [
        ("window", f"{_minute(view.window_from)} to {_minute(view.window_to)} UTC", ""),
        ("success", _share(view.success_rate), ""),
        ("ran", _latency(view.run), ""),
        ("waited", _latency(view.wait), ""),
        ("workers", workers if view.workers.active else "none alive", "" if view.workers.active else "yellow"),
    ]


def _title(out: Output, text: str) -> None:
    out.line()
    out.line(text, "bold")


def _states(view: StatsView, *, are_live: bool) -> Iterator[Sequence[str]]:
    for state, jobs in view.states.items():
        if (state in _LIVE) is not are_live:
            continue
        yield state, f"{jobs:,}+" if state in view.capped else f"{jobs:,}"


def _group_row(group: GroupView) -> Sequence[str]:
    return (
        clean(group.name),
        f"{group.ended.completed:,}",
        f"{group.ended.failed:,}",
        f"{group.ended.cancelled:,}",
        _share(group.success_rate),
        *(_ms(value) for value in (group.run.p50, group.run.p95, group.run.p99, group.wait.p50, group.wait.p95)),
    )


def _series(view: StatsView) -> Iterator[Sequence[str]]:
    top = max(_total(point) for point in view.series)
    for point in view.series:
        at = _minute(point.at) if view.period == "hour" else point.at.date().isoformat()
        yield at, f"{point.completed:,}", f"{point.failed:,}", bar(_total(point), top)


def _total(point: PointView) -> int:
    return point.completed + point.failed


def bar(value: int, top: int, cells: int = BAR_CELLS) -> str:
    """Return a bar as long as *value* is to *top*, in eighths of a cell; something is never nothing."""
    eighths = max(round(8 * cells * value / top), 1) if value and top else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _latency(latency: LatencyView) -> str:
    if latency.p50 is None:
        return "-"
    return f"{_ms(latency.p50)} in the middle, 95 % within {_ms(latency.p95)}, 99 % within {_ms(latency.p99)}"


def _ms(value: float | None) -> str:
    return "-" if value is None else span(value / 1000)


def _share(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.1f} %"


def _minute(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M")
