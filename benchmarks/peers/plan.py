"""Who is measured, in what, and in which order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Store = Literal["PostgreSQL", "Redis"]
Workload = Literal["drain", "steady", "single", "bulk", "pickup"]


@dataclass(frozen=True, slots=True)
class Peer:
    """
    Args:
        name: on the command line and in the results; its adapter is `adapters/<name>`, with _ for -.
        packages: what is installed, each in its current release.
        drain_guess: jobs per second; a drain is given this many times its seconds to do.
        crash: what becomes of a job whose worker process dies while it runs, as the peer is set up here.
        python: oldest version it runs on.
    """

    name: str
    store: Store
    packages: tuple[str, ...]
    drain_guess: int
    crash: str
    runtime: Literal["python", "node"] = "python"
    python: tuple[int, int] = (3, 11)


PEERS: tuple[Peer, ...] = (
    Peer("taskflow", "PostgreSQL", (), 50_000, "runs again"),
    Peer("pgqueuer", "PostgreSQL", ("pgqueuer", "asyncpg", "uvloop"), 20_000, "runs again"),
    Peer("procrastinate", "PostgreSQL", ("procrastinate", "uvloop"), 800, "stays, until a periodic task of yours"),
    Peer("oban", "PostgreSQL", ("oban", "uvloop"), 9_000, "runs again", python=(3, 12)),
    Peer("dbos", "PostgreSQL", ("dbos",), 1_500, "runs again when its process is back"),
    Peer("graphile-worker", "PostgreSQL", ("graphile-worker",), 40_000, "runs again after 4 h", runtime="node"),
    Peer("saq", "Redis", ("saq[redis,hiredis]", "typing-extensions", "uvloop"), 3_500, "is aborted, retried if asked"),
    Peer("taskiq", "Redis", ("taskiq", "taskiq-redis", "hiredis", "uvloop"), 4_500, "runs again after 10 min"),
    Peer("huey", "Redis", ("huey", "redis", "hiredis"), 6_000, "is lost"),
    Peer("dramatiq", "Redis", ("dramatiq[redis]", "hiredis"), 3_000, "runs again"),
    Peer("celery", "Redis", ("celery[redis]", "hiredis"), 1_500, "is lost"),
    Peer("rq", "Redis", ("rq", "hiredis"), 800, "is marked failed"),
    Peer("arq", "Redis", ("arq", "hiredis", "uvloop"), 5_000, "runs again"),
    Peer("bullmq", "Redis", ("bullmq", "ioredis"), 25_000, "runs again", runtime="node"),
)

# How much of --seconds each takes.
WORKLOADS: dict[Workload, float] = {"drain": 1.0, "steady": 1.0, "single": 0.5, "bulk": 0.5, "pickup": 1.0}


@dataclass(frozen=True, slots=True)
class Step:
    repetition: int
    workload: Workload
    peer: Peer


def steps(peers: Sequence[Peer], workloads: Sequence[Workload], repetitions: int) -> Iterator[Step]:
    """
    Yield every measurement. All peers have a workload before the next one begins, and each repetition starts with
    another peer and goes the other way round, so that a noisy minute meets different ones.
    """
    for repetition in range(repetitions):
        first = repetition * len(peers) // repetitions
        order = [*peers[first:], *peers[:first]]
        if repetition % 2:
            order.reverse()
        for workload in workloads:
            for peer in order:
                yield Step(repetition, workload, peer)
