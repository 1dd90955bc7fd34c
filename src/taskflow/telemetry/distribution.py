"""A histogram of what one thread observes, without the locks that the library's takes for each value."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector


class Observed:
    """The values of one set of labels; `observe` is for one thread, scrapes may come from others."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * len(bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def read(self) -> tuple[list[int], float]:
        """Return how many values there are up to each bound, and their sum; that may be ahead or behind by one."""
        return list(accumulate(self._counts[:])), self._sum


class Distribution(Collector):
    """
    See the module. As `prometheus_client.Histogram` otherwise: `labels` returns a child, to be kept.

    Args:
        buckets: their upper bounds, ascending; one without bound is added.
    """

    def __init__(
        self,
        name: str,
        documentation: str,
        labelnames: Iterable[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self.name = name
        self.documentation = documentation
        self.labelnames = tuple(labelnames)
        self._bounds = (*buckets, float("inf"))
        self._children: dict[tuple[str, ...], Observed] = {}
        registry.register(self)

    def labels(self, *values: str) -> Observed:
        if len(values) != len(self.labelnames):
            raise ValueError(f"{self.name} has the labels {', '.join(self.labelnames)}, got {len(values)} values")
        return self._children.setdefault(values, Observed(self._bounds))

    def describe(self) -> Iterator[HistogramMetricFamily]:
        yield HistogramMetricFamily(self.name, self.documentation, labels=self.labelnames)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = HistogramMetricFamily(self.name, self.documentation, labels=self.labelnames)
        bounds = [*(repr(float(bound)) for bound in self._bounds[:-1]), "+Inf"]
        for values, observed in list(self._children.items()):
            counts, total = observed.read()
            family.add_metric(values, list(zip(bounds, map(float, counts), strict=True)), total)
        yield family
