"""What a run came to, as a table for people and as JSON for the chart and for later comparisons."""

import dataclasses
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.chart import Dot, Panel, draw
from benchmarks.peers.measure import KINDS
from benchmarks.peers.plan import Peer, Step
from benchmarks.peers.runner import Measured
from benchmarks.peers.servers import EVERYSEC

NO = '"no": the peer has no such call, or there were too few samples for a 99th percentile.'
CHART_KINDS = ("drain", "steady", "bulk", "single_p50", "pickup_call_p50")


@dataclass
class Report:
    """Collects measurements; *about* is what each adapter said of itself, *skipped* who could not be measured."""

    seconds: float
    repetitions: int
    peers: Sequence[Peer]
    about: Mapping[str, Mapping[str, Any]]
    skipped: Mapping[str, str]
    servers: Mapping[str, str]
    redis_fsync: str = EVERYSEC
    load_before: tuple[float, float, float] = field(default_factory=os.getloadavg)
    measured: list[tuple[Step, Measured]] = field(default_factory=list)
    failed: list[tuple[Step, str]] = field(default_factory=list)

    def values(self, peer: str, kind: str) -> list[float]:
        """One figure per repetition that gave it."""
        return [m.figures[kind] for step, m in self.measured if step.peer.name == peer and kind in m.figures]

    def cell(self, peer: str, kind: str) -> str:
        values = self.values(peer, kind)
        if not values:
            failed = any(step.peer.name == peer and step.workload == KINDS[kind].workload for step, _ in self.failed)
            return "failed" if failed else "no"
        text = number(statistics.median(values))
        return text if len(values) == 1 else f"{text} ({number(min(values))} to {number(max(values))})"

    def rows(self) -> list[list[str]]:
        """Name, store, then a cell per kind."""
        return [[p.name, p.store, *(self.cell(p.name, kind) for kind in KINDS)] for p in self.measured_peers()]

    def measured_peers(self) -> list[Peer]:
        seen = {step.peer.name for step, _ in [*self.measured, *self.failed]}
        return [peer for peer in self.peers if peer.name in seen]

    def notes(self) -> list[str]:
        lines = [f"**Left out: {name}**: {why}." for name, why in self.skipped.items()]
        lines += [
            f"Failed: {step.peer.name}, {step.workload}, repetition {step.repetition + 1}: {why}."
            for step, why in self.failed
        ]
        lines += [
            f"{step.peer.name}, {step.workload}, repetition {step.repetition + 1}: {m.ran_twice} jobs started twice."
            for step, m in self.measured
            if m.ran_twice
        ]
        return lines

    def svg(self) -> str:
        panels = []
        for name in CHART_KINDS:
            kind = KINDS[name]
            dots = [
                Dot(peer.name, peer.store, statistics.median(values), min(values), max(values))
                for peer in self.measured_peers()
                if (values := self.values(peer.name, name))
            ]
            if dots:
                dots.sort(key=lambda dot: dot.value, reverse=kind.more_is_better)
                panels.append(Panel(kind.label, kind.unit, kind.more_is_better, dots))
        redis = "Redis, synced each second" if self.redis_fsync == EVERYSEC else "Redis, synced per commit"
        return draw("TaskFlow and other queues, measured in one run on one machine", panels, redis=redis)

    def markdown(self, chart: str) -> str:
        labels = [f"{kind.label}, {kind.unit}" for kind in KINDS.values()]
        lines = [
            f"# Peers, {time.strftime('%Y-%m-%d %H:%M')}, commit {commit()}",
            "",
            f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}; {'; '.join(self.servers.values())}.",
            self._load() if self.measured else "Nothing was measured.",
            f"{self.seconds:g} s per workload, {self.repetitions} repetitions: the median, and the range in brackets.",
            "How it is measured and what is not comparable: [method.md](../method.md#other-queues).",
            "",
            f"![Each figure of each peer, on a logarithmic scale]({chart})",
            "",
            f"| peer | store | {' | '.join(labels)} |",
            f"| --- | --- | {' | '.join('---:' for _ in labels)} |",
            *(f"| {' | '.join(row)} |" for row in self.rows()),
            "",
            f"{self._durability()} {NO}",
            "",
            *(f"- {line}" for line in self.notes()),
            *([""] if self.notes() else []),
            "## What ran, and how it was set up",
            "",
            "| peer | versions | settings | a job whose worker dies |",
            "| --- | --- | --- | --- |",
            *(self._about_row(peer) for peer in self.measured_peers()),
        ]
        return "\n".join(lines) + "\n"

    def _load(self) -> str:
        before = ", ".join(f"{load:.2f}" for load in self.load_before)
        loads = [m.load for _, m in self.measured]
        return (
            f"Load of the machine over 1, 5 and 15 minutes before the run: {before}; over 1 minute when measurements "
            f"began (the one before counts in it): median {statistics.median(loads):.2f}, highest {max(loads):.2f}."
        )

    def _durability(self) -> str:
        if self.redis_fsync == EVERYSEC:
            return (
                "PostgreSQL: a job is on disk when enqueue returns. Redis: it is there within a second, so a crash of "
                "the machine loses up to a second of accepted jobs. The two are not equal in durability."
            )
        return "PostgreSQL and Redis: a job is on disk when enqueue returns."

    def _about_row(self, peer: Peer) -> str:
        about = self.about[peer.name]
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        return f"| {peer.name} | {versions}; {about['runtime']} | {about['settings']} | {peer.crash} |"

    def json(self) -> str:
        """Every single figure, with the load at its beginning."""
        runs = [
            {"repetition": s.repetition, "workload": s.workload, "peer": s.peer.name, **dataclasses.asdict(m)}
            for s, m in self.measured
        ]
        run = {"seconds": self.seconds, "load_before": self.load_before, "servers": dict(self.servers), "runs": runs}
        return json.dumps(run, indent=1) + "\n"


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() or "unknown"
