"""A plan is drawn from its seed alone, and a long one leaves nothing out."""

import re

from tests.faults.nemesis import Nemesis
from tests.faults.plan import LASTING, SUDDEN, draw
from tests.support.reference import ROOT

WALL_CLOCK = re.compile(r"\btime\.time(_ns)?\(|\bdatetime\.(now|utcnow|today)\(|\bdate\.today\(")


def test_the_same_seed_gives_the_same_plan_and_another_a_different_one() -> None:
    assert draw(7, 180) == draw(7, 180)
    assert draw(7, 180) != draw(8, 180)


def test_three_minutes_hold_every_fault_and_each_ends_in_time() -> None:
    for seed in range(50):
        plan = draw(seed, 180)
        assert {(step.fault, step.target) for step in plan.sudden} == set(SUDDEN)
        assert {(step.fault, step.target) for step in plan.lasting} == {
            (fault, target) for fault, target, *_ in LASTING
        }
        for lane in (plan.sudden, plan.lasting):
            assert all(step.at_s + step.lasts_s <= 180.1 for step in lane)
            assert [step.at_s for step in lane] == sorted(step.at_s for step in lane)


def test_every_fault_of_a_plan_can_be_done() -> None:
    faults = {fault for fault, *_ in (*SUDDEN, *LASTING)}
    assert all(callable(getattr(Nemesis, f"_{fault}", None)) for fault in faults)


def test_the_engine_looks_at_no_clock_but_the_database_s() -> None:
    """What a run with a worker ten minutes ahead shows for some paths holds for all: there is nothing to be wrong."""
    for path in sorted((ROOT / "src/taskflow/engine").rglob("*.py")):
        assert not WALL_CLOCK.search(path.read_text()), path
