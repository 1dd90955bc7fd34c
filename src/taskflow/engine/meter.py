"""The metrics of submits and of attempts, by queue and kind; looking a label up costs more than counting."""

from collections import Counter
from collections.abc import Callable, Iterable
from operator import attrgetter

from taskflow.engine.job import NewJob, Outcome, OutcomeKind
from taskflow.telemetry.metrics import ATTEMPTS, JOB_DURATION_SECONDS, JOB_QUEUE_WAIT_SECONDS, JOBS_ENQUEUED, OTHER

_PAIR = attrgetter("queue", "kind")


class SubmitMeter:
    """
    Counts submits.

    Submitters name queues as they like, so only the first `MAX_PAIRS` pairs get labels of their own.
    """

    MAX_PAIRS = 1000

    def __init__(self) -> None:
        self._counters: dict[tuple[str, str], Callable[[float], None]] = {}
        self._other: Callable[[float], None] = JOBS_ENQUEUED.labels(OTHER, OTHER).inc

    def count(self, jobs: Iterable[NewJob]) -> None:
        for pair, number in Counter(map(_PAIR, jobs)).items():
            count = self._counters.get(pair)
            if count is None:
                if len(self._counters) >= self.MAX_PAIRS:
                    count = self._other
                else:
                    count = self._counters[pair] = JOBS_ENQUEUED.labels(*pair).inc
            count(number)


class AttemptMeter:
    """Counts attempts, and observes how long they ran and how long their jobs had waited."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], _Pair] = {}

    def count(self, outcome: Outcome) -> None:
        key = outcome.claim.queue, outcome.claim.kind
        pair = self._pairs.get(key)
        if pair is None:
            pair = self._pairs[key] = _Pair(*key)
        pair.attempts[outcome.kind].inc()
        if outcome.claim.queue_wait_s is not None:
            pair.queue_wait.observe(outcome.claim.queue_wait_s)
        if outcome.duration_s is not None:
            pair.duration.observe(outcome.duration_s)


class _Pair:
    """The metrics of one queue and kind."""

    def __init__(self, queue: str, kind: str) -> None:
        self.duration = JOB_DURATION_SECONDS.labels(queue, kind)
        self.queue_wait = JOB_QUEUE_WAIT_SECONDS.labels(queue, kind)
        self.attempts = {outcome: ATTEMPTS.labels(queue, kind, str(outcome)) for outcome in OutcomeKind}
