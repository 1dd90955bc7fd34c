"""Half a minute of faults, by a plan that stays the same: `make test-faults` runs others, and longer."""

import sys

import pytest
from tests.faults.plan import draw
from tests.faults.run import run

SEED = 1207  # a full disk, a fleet frozen for longer than a lease, and the leader killed
SECONDS = 30.0


@pytest.mark.timeout(400)
@pytest.mark.covers("S2-2", "S2-23", "S3-21", "S4-1", "X-6", "X-9")
def test_whatever_breaks_every_promise_is_kept() -> None:
    plan = draw(SEED, SECONDS)
    sys.stdout.write(f"{plan}\n")  # shown if it fails
    result = run(plan, lambda line: None)
    assert not result.wrong, f"{plan}\n{result}"
