"""What a scenario of the benchmarks returns."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number: its unit, and what it should reach (None: only reported)."""

    value: float
    unit: str
    target: str | None = None


Figures: TypeAlias = Mapping[str, Figure]


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]
