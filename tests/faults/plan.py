"""
What is broken when: drawn from a seed before anything runs, so that a run can be repeated.

Two lanes run side by side. In one, things are killed and cut at a moment; in the other, something lasts: frozen,
silent, full. So what is killed in the first lane falls into every stage of what lasts in the second. Of each lane every
fault comes once, in random order, before any comes again. Repeated is the plan; what the machine makes of it in a
millisecond is not.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

Card = TypeVar("Card")

# Faults of a moment: what, and to whom.
SUDDEN: Sequence[tuple[str, str]] = (
    ("kill", "worker of up"),
    ("kill", "worker of near"),
    ("kill", "worker of far"),
    ("kill", "child of near"),
    ("kill", "child of far"),
    ("kill", "api of up"),
    ("kill", "api"),
    ("kill", "near"),
    ("kill", "far"),
    ("kill", "up"),
    ("kill", "leader"),
    ("kill", "postgres"),
    ("terminate", "all"),
    ("terminate", "half"),
    ("cut", "proxy"),
)
# Faults that last: what, to whom, and from how many to how many seconds.
LASTING: Sequence[tuple[str, str, float, float]] = (
    ("freeze", "fleet near", 20.0, 24.0),  # longer than a lease: its jobs are given to others
    ("freeze", "near", 13.0, 16.0),  # its workers hear no heartbeat and stop
    ("freeze", "worker of far", 3.0, 10.0),
    ("freeze", "child of near", 2.0, 5.0),
    ("freeze", "api of up", 2.0, 5.0),
    ("freeze", "postgres", 2.0, 6.0),
    ("swallow", "proxy", 3.0, 14.0),
    ("refuse", "proxy", 2.0, 6.0),
    ("exhaust", "connections", 3.0, 6.0),
    ("fill", "disk", 3.0, 6.0),
    ("stall", "event loop", 3.0, 8.0),
)
FIRST_S = 1.0
SUDDEN_PAUSE_S = (0.8, 3.2)
LASTING_PAUSE_S = (0.5, 3.0)


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: when (seconds from the start), what, to whom, and for how long (0: a moment)."""

    at_s: float
    fault: str
    target: str
    lasts_s: float = 0.0

    def __str__(self) -> str:
        lasts = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"{self.at_s:6.1f} s  {self.fault} {self.target}{lasts}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The two lanes."""

    seed: int
    seconds: float
    sudden: Sequence[Step]
    lasting: Sequence[Step]

    def __str__(self) -> str:
        steps = sorted([*self.sudden, *self.lasting], key=lambda step: step.at_s)
        head = f"seed {self.seed}, {self.seconds:g} s, {len(steps)} faults"
        return "\n".join([head, *(f"  {step}" for step in steps)])


def draw(seed: int, seconds: float) -> Plan:
    """Return the plan of *seed*: the same for the same arguments."""
    rng = random.Random(seed)
    sudden, at_s = [], FIRST_S
    for fault, target in _deck(rng, SUDDEN):
        at_s += rng.uniform(*SUDDEN_PAUSE_S)
        if at_s >= seconds:
            break
        sudden.append(Step(round(at_s, 1), fault, target))
    lasting, at_s, passed = [], FIRST_S, 0
    for fault, target, least_s, most_s in _deck(rng, LASTING):
        pause_s, lasts_s = rng.uniform(*LASTING_PAUSE_S), rng.uniform(least_s, most_s)
        if at_s + pause_s + lasts_s > seconds:
            passed += 1  # it no longer fits, a shorter one may
            if passed == len(LASTING):
                break
            continue
        lasting.append(Step(round(at_s + pause_s, 1), fault, target, round(lasts_s, 1)))
        at_s += pause_s + lasts_s
    return Plan(seed, seconds, sudden, lasting)


def _deck(rng: random.Random, cards: Sequence[Card]) -> Iterator[Card]:
    """Yield all cards in random order, and again, for ever."""
    while True:
        yield from rng.sample(list(cards), len(cards))
