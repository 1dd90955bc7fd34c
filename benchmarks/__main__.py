"""`make bench`: run the scenarios on an embedded PostgreSQL of their own and print a table. Loopback only."""

import argparse
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figures
from benchmarks.scenarios import ASKED_FOR, SCENARIOS
from taskflow.db.embedded import EmbeddedPostgres
from taskflow.db.migrate import migrate

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "scenarios", nargs="*", choices=[[], *SCENARIOS], help="which (default: all but history and snapshot)"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each (default: 10; drain: three times)")
    parser.add_argument("--jobs", type=int, default=2_000_000, help="how many have ended (history; default: 2,000,000)")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long it is held (snapshot; default: 10)")
    parser.add_argument("--save", action="store_true", help="write the table to benchmarks/results/")
    arguments = parser.parse_args()
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="taskflow-bench-") as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres")
        server.initialise()
        server.spawn()
        try:
            server.wait_ready(60)
            for name in arguments.scenarios or [name for name in SCENARIOS if name not in ASKED_FOR]:
                seconds = arguments.seconds * (3 if name == "drain" else 1)
                print(f"{name} …", flush=True)
                options: dict[str, Any] = {}
                if name == "history":
                    options = {"jobs": arguments.jobs, "empty_url": _fresh_database(server, "no_history")}
                if name == "snapshot":
                    options = {"minutes": arguments.minutes, "empty_url": _fresh_database(server, "no_snapshot")}
                figures[name] = uvloop.run(SCENARIOS[name](_fresh_database(server, name), seconds, **options))
        finally:
            server.stop()
    _print(figures)
    if arguments.save:
        _save(figures, "".join(f"-{name}" for name in arguments.scenarios))


def _fresh_database(server: EmbeddedPostgres, scenario: str) -> str:
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE bench_{scenario}")
    url = server.url.rsplit("/", 1)[0] + f"/bench_{scenario}"
    migrate(url)
    return url


def _print(figures: dict[str, Figures]) -> None:
    table = Table("measure", "value", "unit", "target")
    for measured in figures.values():
        for name, figure in measured.items():
            table.add_row(name, f"{figure.value:,.2f}", figure.unit, figure.target or "")
    Console().print(table)


def _save(figures: dict[str, Figures], suffix: str) -> None:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    lines = [
        f"# {time.strftime('%Y-%m-%d')}, commit {commit.stdout.strip()}",
        "",
        (
            f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
            "embedded PostgreSQL, every commit synced. How it is measured: [method.md](../method.md)."
        ),
        "",
        "| measure | value | unit | target |",
        "| --- | ---: | --- | --- |",
    ]
    for measured in figures.values():
        lines += [f"| {name} | {f.value:,.2f} | {f.unit} | {f.target or ''} |" for name, f in measured.items()]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{time.strftime('%Y-%m-%d')}{suffix}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
