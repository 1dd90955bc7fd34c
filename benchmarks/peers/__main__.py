"""
`make bench-peers`: install other queues, run the same workloads with each and with TaskFlow, print a table.

Each peer has an environment of its own under .peers/, brought to its current release first. Everything runs on this
machine and listens on loopback. Ctrl-C stops what runs and prints what there is.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.peers.environments import CannotInstallError, Environment, prepare, prepare_redis
from benchmarks.peers.measure import KINDS, Figures
from benchmarks.peers.plan import PEERS, WORKLOADS, Peer, Workload, steps
from benchmarks.peers.report import Report, number
from benchmarks.peers.runner import MeasurementError, Runner
from benchmarks.peers.servers import ALWAYS, EVERYSEC, Postgres, find_redis, redis_version

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def main(arguments: list[str] | None = None) -> int:
    options = _parse(arguments)
    if options.list:
        _list()
        return 0
    environments, about, skipped = _prepare(options.only, options.cache, install=options.install)
    peers = [peer for peer in options.only if peer.name in environments]
    redis = _prepare_redis(peers, options.cache, skipped, install=options.install)
    peers = [peer for peer in peers if peer.name not in skipped]
    servers = (
        {} if redis is None else {"redis": f"{redis_version(redis)}, appendonly yes, appendfsync {options.redis_fsync}"}
    )
    report = Report(options.seconds, options.repeat, peers, about, skipped, servers, options.redis_fsync)
    whole = False
    with tempfile.TemporaryDirectory(prefix="taskflow-peers-") as folder:
        try:
            with _interrupted_once():
                postgres = Postgres(Path(folder)) if any(peer.store == "PostgreSQL" for peer in peers) else None
                runner = Runner(Path(folder), postgres, redis, redis_fsync=options.redis_fsync)
                whole = _measure(report, runner, postgres, environments, options.workloads)
        except KeyboardInterrupt:
            print("\nstopped; this is what there is", flush=True)
    _print(report)
    if options.save and whole:
        _save(report)
    elif options.save:
        print("not saved: the run is not whole")
    return 0 if whole and not report.failed and not skipped else 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the peers and the workloads, and measure nothing")
    parser.add_argument("--only", type=_peers, default=list(PEERS), metavar="PEER,…", help="some peers (default: all)")
    parser.add_argument(
        "--workloads", type=_workloads, default=list(WORKLOADS), metavar="NAME,…", help="some workloads (default: all)"
    )
    parser.add_argument("--seconds", type=_positive, default=10.0, help="length of a workload (default: 10)")
    parser.add_argument("--repeat", type=int, default=3, choices=range(1, 10), metavar="N", help="1 to 9 (default: 3)")
    parser.add_argument(
        "--redis-fsync",
        choices=[EVERYSEC, ALWAYS],
        default=EVERYSEC,
        help="when Redis syncs: within a second, as it is run (default), or before it answers, as PostgreSQL does",
    )
    parser.add_argument("--save", action="store_true", help="write table, chart and figures to benchmarks/results/")
    parser.add_argument(
        "--no-install", dest="install", action="store_false", help="take environments as they are (no network)"
    )
    parser.add_argument(
        "--cache", type=Path, default=ROOT / ".peers", help="folder of the environments (default: .peers)"
    )
    options = parser.parse_args(arguments)
    options.cache = options.cache.absolute()
    return options


def _peers(text: str) -> list[Peer]:
    by_name = {peer.name: peer for peer in PEERS}
    return [by_name[name] for name in _names(text, list(by_name))]


def _workloads(text: str) -> list[Workload]:
    names = _names(text, list(WORKLOADS))
    return [workload for workload in WORKLOADS if workload in names]


def _names(text: str, known: list[str]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"there is no {name!r}; there are {', '.join(known)}")
    if not names:
        raise argparse.ArgumentTypeError("names none")
    return list(dict.fromkeys(names))


def _positive(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.1 and 600")
    return seconds


def _list() -> None:
    table = Table("peer", "store", "runs on", "installs")
    for peer in PEERS:
        needs = peer.runtime if peer.runtime == "node" else f"Python {peer.python[0]}.{peer.python[1]} or newer"
        table.add_row(peer.name, peer.store, needs, escape(", ".join(peer.packages)) or "nothing: it is this checkout")
    Console().print(table)
    print(f"workloads: {', '.join(WORKLOADS)}")


def _prepare(
    peers: list[Peer], cache: Path, *, install: bool
) -> tuple[dict[str, Environment], dict[str, Any], dict[str, str]]:
    environments: dict[str, Environment] = {}
    about: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    for peer in peers:
        print(f"preparing {peer.name} …", flush=True)
        try:
            environment = prepare(peer, cache, install=install)
            about[peer.name] = environment.about()
            environments[peer.name] = environment
        except CannotInstallError as error:
            _skip(skipped, peer.name, str(error))
    return environments, about, skipped


def _prepare_redis(peers: list[Peer], cache: Path, skipped: dict[str, str], *, install: bool) -> Path | None:
    """Find a redis-server, installing one if there is none; without one, peers that need it are left out."""
    in_need = [peer for peer in peers if peer.store == "Redis"]
    if not in_need:
        return None
    found, why = find_redis(cache / "redis"), "there is no redis-server on PATH"
    if found is None and install:
        try:
            found = find_redis(prepare_redis(cache))
        except CannotInstallError as error:
            why += f", and none to install: {error}"
    if found is None:
        for peer in in_need:
            _skip(skipped, peer.name, why)
    return found


def _skip(skipped: dict[str, str], name: str, why: str) -> None:
    skipped[name] = why.rstrip(".")
    print(f"LEFT OUT: {name}: {why}", file=sys.stderr, flush=True)


def _measure(
    report: Report,
    runner: Runner,
    postgres: Postgres | None,
    environments: dict[str, Environment],
    workloads: list[Workload],
) -> bool:
    """Carry out the plan; True if it came to its end."""
    try:
        if postgres is not None:
            postgres.start()
            settings = ", ".join(f"{name} {value}" for name, value in postgres.settings().items())
            report.servers = {"postgres": f"{postgres.version()} ({settings})", **report.servers}
        plan = list(steps(report.peers, workloads, report.repetitions))
        for done, step in enumerate(plan, 1):
            head = f"[{done}/{len(plan)}] {step.workload} {step.peer.name}"
            begin = time.monotonic()
            try:
                measured = runner.measure(step, environments[step.peer.name], report.seconds)
            except MeasurementError as error:
                report.failed.append((step, str(error)))
                print(f"{head}: FAILED: {error}", flush=True)
                continue
            report.measured.append((step, measured))
            print(f"{head}: {_in_short(measured.figures)} ({time.monotonic() - begin:.0f} s)", flush=True)
        return True
    finally:
        if postgres is not None:
            postgres.stop()


@contextmanager
def _interrupted_once() -> Iterator[None]:
    """The first Ctrl-C, or SIGTERM, unwinds the block; those after it would only leave processes behind."""
    handled = (signal.SIGINT, signal.SIGTERM)

    def interrupt(signum: int, frame: object) -> None:
        for number in handled:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(number, interrupt) for number in handled]
    try:
        yield
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)


def _in_short(figures: Figures) -> str:
    if not figures:
        return "it has no such call"
    return ", ".join(f"{KINDS[name].label} {number(value)} {KINDS[name].unit}" for name, value in figures.items())


def _print(report: Report) -> None:
    """Two tables, since one would be too wide for a terminal."""
    for unit in ("jobs/s", "ms"):
        names = [name for name, kind in KINDS.items() if kind.unit == unit]
        table = Table("peer", "store", *(KINDS[name].label for name in names), title=unit, title_justify="left")
        for peer in report.measured_peers():
            table.add_row(peer.name, peer.store, *(report.cell(peer.name, name) for name in names))
        Console().print(table)
    for note in report.notes():
        print(f"- {note}")


def _save(report: Report) -> None:
    RESULTS.mkdir(exist_ok=True)
    name = f"peers-{time.strftime('%Y-%m-%d')}"
    if report.redis_fsync != EVERYSEC:
        name += f"-redis-{report.redis_fsync}"
    (RESULTS / f"{name}.md").write_text(report.markdown(f"{name}.svg"))
    (RESULTS / f"{name}.svg").write_text(report.svg())
    (RESULTS / f"{name}.json").write_text(report.json())
    print(f"saved as benchmarks/results/{name}.md, .svg and .json")


if __name__ == "__main__":
    sys.exit(main())
