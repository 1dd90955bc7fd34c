"""The runner of `make bench-peers`, with TaskFlow as the only peer: that needs no network and no other queue."""

import json
import re
import signal
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from benchmarks.peers import __main__ as program
from benchmarks.peers.adapters.harness import Tally
from benchmarks.peers.chart import ticks
from benchmarks.peers.environments import ADAPTERS
from benchmarks.peers.measure import ran_twice, rate
from benchmarks.peers.plan import PEERS, WORKLOADS, steps

S = 1_000_000_000


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.timeout(180)  # five processes, each with an interpreter to start
def test_a_run_measures_a_peer_and_saves_table_chart_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "RESULTS", tmp_path)
    before = signal.getsignal(signal.SIGINT)
    short = ["--workloads", "pickup", "--seconds", "0.1", "--repeat", "1"]
    assert program.main(["--only", "taskflow", "--no-install", "--save", *short]) == 0
    assert signal.getsignal(signal.SIGINT) is before

    saved = {path.suffix: path.read_text() for path in tmp_path.iterdir()}
    [run] = json.loads(saved[".json"])["runs"]
    figures = run["figures"]
    assert figures["pickup_return_p50"] < figures["pickup_call_p50"]
    assert figures["pickup_call_p50"] > 0
    assert run["ran_twice"] == 0

    table = saved[".md"]
    assert re.search(r"\| taskflow \| PostgreSQL \|( no \|){5}( -?[\d.,]+ \|){2}", table)
    assert "fsync on, synchronous_commit on" in table
    assert "Load of the machine" in table

    chart = ElementTree.fromstring(saved[".svg"])
    shown = [text.text for text in chart.iter("{http://www.w3.org/2000/svg}text")]
    assert shown.count("taskflow") == 1
    assert "pick-up from call p50, ms" in shown


def test_a_peer_that_is_not_installed_is_left_out_loudly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--only", "pgqueuer", "--no-install", "--cache", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "LEFT OUT: pgqueuer: it is not installed" in printed.err
    assert "Left out: pgqueuer" in printed.out


def test_a_name_that_is_no_peer_is_refused_with_the_names_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main(["--only", "taskflow,sidekiq"])
    assert "there is no 'sidekiq'; there are taskflow, pgqueuer" in capsys.readouterr().err


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_peer_has_an_adapter_and_is_listed(peer: object, capsys: pytest.CaptureFixture[str]) -> None:
    name = getattr(peer, "name", "")
    assert [path.stem for path in ADAPTERS.iterdir()].count(name.replace("-", "_")) == 1
    program.main(["--list"])
    assert name in capsys.readouterr().out


def test_each_repetition_measures_all_and_begins_with_another_peer() -> None:
    planned = list(steps(PEERS, list(WORKLOADS), 3))
    assert len(planned) == len({(step.repetition, step.workload, step.peer.name) for step in planned})
    assert len(planned) == 3 * len(WORKLOADS) * len(PEERS)
    firsts = [next(step.peer.name for step in planned if step.repetition == n) for n in range(3)]
    assert len(set(firsts)) == 3


def test_a_rate_leaves_the_start_up_out_and_what_came_after_the_end() -> None:
    slow_start = [0, S // 2]
    even = [S + n * S // 100 for n in range(1, 901)]
    late = [10 * S + n for n in range(1, 50)]
    assert rate([*slow_start, *even, *late], 0, 10 * S) == pytest.approx(100)
    with pytest.raises(ValueError, match="too few"):
        rate(slow_start, 0, 10 * S)


def test_the_tally_shows_what_started_and_what_started_twice(tmp_path: Path) -> None:
    Tally.create(tmp_path / "tally", 100)
    ours, theirs = Tally(tmp_path / "tally", 100), Tally(tmp_path / "tally", 100)
    for n in (0, 1, 7, 7, 60):
        theirs.runs[n] += 1
    assert ours.count(10) == 3
    assert ours.count(100) == 4
    assert ran_twice(ours) == 1


@pytest.mark.parametrize(
    ("lowest", "highest", "expected"),
    [(0.2, 30, [0.1, 1, 10, 100]), (1, 1, [1, 10]), (1000, 9999, [1000, 10000])],
)
def test_the_scale_of_a_chart_holds_its_values(lowest: float, highest: float, expected: list[float]) -> None:
    assert ticks(lowest, highest) == pytest.approx(expected)
