"""`python -m tests.faults`: see `make test-faults`."""

import argparse
import sys

from tests.faults.plan import draw
from tests.faults.run import random_seed, run


def main() -> int:
    options = argparse.ArgumentParser(prog="make test-faults", description="Break everything under load, then judge.")
    options.add_argument("--seed", type=int, help="the plan to run; by default another one each time")
    options.add_argument("--seconds", type=float, default=180.0, help="how long things are broken (default: 180)")
    options.add_argument("--plan", action="store_true", help="print the plan, run nothing")
    given = options.parse_args()
    if given.seconds < 5:
        options.error("--seconds must be 5 or more")
    plan = draw(random_seed() if given.seed is None else given.seed, given.seconds)
    _say(str(plan))
    if given.plan:
        return 0
    result = run(plan, _say)
    _say(str(result))
    return 1 if result.wrong else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
