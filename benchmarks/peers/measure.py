"""From clock readings to figures: the one place where they are worked out, for all peers alike."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.peers.adapters.harness import Tally
from benchmarks.peers.plan import Workload

START_UP_S = 1.0  # left out of the beginning of drain and steady, but never more than a fifth
P99_SAMPLES = 100  # fewer say nothing about the 99th percentile

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Kind:
    """One column of the results."""

    workload: Workload
    label: str
    unit: str
    more_is_better: bool


KINDS: dict[str, Kind] = {
    "drain": Kind("drain", "drain", "jobs/s", True),
    "steady": Kind("steady", "steady", "jobs/s", True),
    "bulk": Kind("bulk", "bulk enqueue", "jobs/s", True),
    "single_p50": Kind("single", "single enqueue p50", "ms", False),
    "single_p99": Kind("single", "single enqueue p99", "ms", False),
    "pickup_return_p50": Kind("pickup", "pick-up from return p50", "ms", False),
    "pickup_call_p50": Kind("pickup", "pick-up from call p50", "ms", False),
    "pickup_call_p99": Kind("pickup", "pick-up from call p99", "ms", False),
}


def figures(workload: Workload, readings: Mapping[str, Any], tally: Tally) -> Figures:
    """
    Work out the figures of one measurement; none where the peer has no such call.

    Raises:
        ValueError: there is too little to say anything.
    """
    match workload:
        case "drain":
            starts = sorted(filter(None, tally.starts[: readings["filled"]].tolist()))
            if not starts:
                raise ValueError("no job started")
            end = min(starts[-1], starts[0] + int(readings["seconds"] * 1e9))
            return {"drain": rate(starts, starts[0], end)}
        case "steady":
            starts = sorted(filter(None, tally.starts[readings["first"] : readings["issued"]].tolist()))
            return {"steady": rate(starts, readings["begin_ns"], readings["end_ns"])}
        case "single":
            took_ms = [took / 1e6 for took in readings["took_ns"]]
            return {"single_p50": statistics.median(took_ms), **p99("single_p99", took_ms)}
        case "bulk":
            if readings.get("unsupported"):
                return {}
            return {"bulk": readings["stored"] / (readings["took_ns"] / 1e9)}
        case "pickup":
            first, count = readings["first"], len(readings["called_ns"])
            starts = tally.starts[first : first + count].tolist()
            since_return = [(at - since) / 1e6 for at, since in zip(starts, readings["returned_ns"], strict=True)]
            since_call = [(at - since) / 1e6 for at, since in zip(starts, readings["called_ns"], strict=True)]
            return {
                "pickup_return_p50": statistics.median(since_return),
                "pickup_call_p50": statistics.median(since_call),
                **p99("pickup_call_p99", since_call),
            }


def rate(starts_ns: Sequence[int], begin_ns: int, end_ns: int) -> float:
    """Jobs per second that started between the two instants, the start-up left out."""
    begin_ns += min(int(START_UP_S * 1e9), (end_ns - begin_ns) // 5)
    started = sum(begin_ns < at <= end_ns for at in starts_ns)
    if started < 2:
        raise ValueError(f"{started} jobs started, too few for a rate")
    return started / ((end_ns - begin_ns) / 1e9)


def p99(name: str, values: Sequence[float]) -> Figures:
    return {name: statistics.quantiles(values, n=100)[98]} if len(values) >= P99_SAMPLES else {}


def ran_twice(tally: Tally) -> int:
    """How many jobs started more than once: none should, where no worker died."""
    return sum(runs > 1 for runs in bytes(tally.runs).replace(b"\0", b""))
