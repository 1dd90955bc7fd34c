"""
The checks of `taskflow doctor`: pure judgements of what was read, each with what to do.

A *failure* is what loses work, stops it, or will within days; a *warning* is what may be meant so, or is on its way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from taskflow.apps.cli.output import clean, plural, size, span
from taskflow.apps.cli.overview import kept, pending_in_paused
from taskflow.db.migrate import HEAD, MIN_SERVER_MAJOR, Fit, Schema
from taskflow.db.vitals import Vitals
from taskflow.engine.job import WorkerInfo
from taskflow.engine.record import Leadership, QueueDepth, Upkeep
from taskflow.engine.store import DEAD_LETTER_ROWS
from taskflow.webhooks.repository import FAILING_ROWS, TROUBLED_FAILURES, Failing

Level = Literal["ok", "warn", "fail", "skip"]

SKEW_WARN_S = 2.0
TRANSACTION_WARN_S, TRANSACTION_FAIL_S = 300.0, 3600.0
DEAD_WARN_ROWS, DEAD_FAIL_ROWS = 20_000, 500_000  # a leader at work keeps them far below
PARTITION_OK_DAYS, PARTITION_FAIL_DAYS = 6, 2  # seven are made every hour, today's among them
RETENTION_OK_DAYS = 1  # the leader looks four times an hour
CONNECTIONS_WARN, CONNECTIONS_FAIL = 0.8, 0.95
DISK_WARN, DISK_FAIL = 0.10, 0.03  # of the disk that are free
DISK_WARN_BYTES, DISK_FAIL_BYTES = 2 * 1024**3, 256 * 1024**2


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check came to. *advice* says what to do about it."""

    check: str
    level: Level
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the engine said of itself. *leader* is None unless its term still goes."""

    leader: Leadership | None
    workers: Sequence[WorkerInfo]
    depths: Sequence[QueueDepth]
    dead_letters: int
    deliveries: Failing
    upkeep: Upkeep


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk that the database is on."""

    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Facts:
    """
    Everything that was read of a database that answers.

    Args:
        skew_s: how far the database's clock is ahead of this machine's; known to within *skew_margin_s*.
        disk: None where the server's disk cannot be seen from here.
        engine: None unless the schema is current.
    """

    address: str
    vitals: Vitals
    schema: Schema
    skew_s: float
    skew_margin_s: float
    disk: Disk | None
    engine: EngineFacts | None


def check_all(facts: Facts) -> Iterator[Finding]:
    """Yield what every check says."""
    for check in SERVER_CHECKS:
        yield check(facts)
    if facts.engine is not None:
        for judge in ENGINE_CHECKS:
            yield judge(facts.engine)


# The server ----------------------------------------------------------------------------------------------------------


def check_database(facts: Facts) -> Finding:
    return Finding("database", "ok", f"answers at {clean(facts.address)}")


def check_version(facts: Facts) -> Finding:
    version = facts.vitals.version.split()[0]
    if facts.vitals.version_num < MIN_SERVER_MAJOR * 10_000:
        needs = f"TaskFlow needs PostgreSQL {MIN_SERVER_MAJOR} or newer: upgrade the server"
        return Finding("version", "fail", f"PostgreSQL {version}", needs)
    return Finding("version", "ok", f"PostgreSQL {version}")


def check_schema(facts: Facts) -> Finding:
    revision = clean(facts.schema.revision or "")
    match facts.schema.fit:
        case Fit.CURRENT:
            return Finding("schema", "ok", f"revision {HEAD}, current")
        case Fit.NEWER:
            found = f"revision {revision}, newer than this TaskFlow's {HEAD}, which works on it"
            return Finding("schema", "ok", found)
        case Fit.MISSING:
            return Finding("schema", "fail", "the database has no TaskFlow schema", "run `taskflow migrate`")
        case Fit.OUTDATED:
            found = f"revision {revision}, this TaskFlow needs {HEAD}"
            return Finding("schema", "fail", found, "run `taskflow migrate`")
        case Fit.TOO_NEW:
            found = f"revision {revision}, this TaskFlow knows {HEAD} at most"
            return Finding("schema", "fail", found, "use the version that migrated it, or a newer one")


def check_clock(facts: Facts) -> Finding:
    ahead = "ahead of" if facts.skew_s > 0 else "behind"
    found = f"the database is {span(abs(facts.skew_s))} {ahead} this machine (± {span(facts.skew_margin_s)})"
    if abs(facts.skew_s) - facts.skew_margin_s > SKEW_WARN_S:
        advice = "synchronise both clocks (NTP); only the database's counts, but runAt and logs are read by yours"
        return Finding("clock", "warn", found, advice)
    return Finding("clock", "ok", found)


def check_durability(facts: Facts) -> Finding:
    vitals = facts.vitals
    off = [name for name in ("fsync", "full_page_writes") if not getattr(vitals, name)]
    if off:
        found = f"{' and '.join(off)} {'is' if len(off) == 1 else 'are'} off"
        advice = f"set {' and '.join(f'{name} = on' for name in off)}: a crash can destroy the database"
        return Finding("durability", "fail", found, advice)
    if vitals.synchronous_commit == "off":
        advice = "set synchronous_commit = on: a submit that was answered can be lost in a crash"
        return Finding("durability", "fail", "synchronous_commit is off", advice)
    found = f"fsync and full_page_writes are on, synchronous_commit is {vitals.synchronous_commit}"
    return Finding("durability", "ok", found)


def check_standby(facts: Facts) -> Finding:
    vitals = facts.vitals
    if not vitals.standbys:
        waiting = vitals.synchronous_standby_names and vitals.synchronous_commit not in {"off", "local"}
        if waiting:
            advice = "start a standby, or empty synchronous_standby_names: without one every commit waits"
            return Finding("standby", "fail", "synchronous_standby_names is set, and no standby is there", advice)
        return Finding("standby", "ok", "there is none, so there is no failover that could lose commits")
    count = plural(vitals.standbys, "standby", "standbys")
    if not vitals.synchronous_standbys or vitals.synchronous_commit in {"off", "local"}:
        advice = (
            "set synchronous_standby_names (and leave synchronous_commit on): a failover loses what was answered last"
        )
        return Finding("standby", "warn", f"{count}, none of them synchronous", advice)
    return Finding("standby", "ok", f"{count}, {vitals.synchronous_standbys} synchronous")


def check_transactions(facts: Facts) -> Finding:
    vitals = facts.vitals
    longest_s = max(vitals.oldest_transaction_s, vitals.oldest_prepared_s)
    if longest_s <= TRANSACTION_WARN_S:
        if vitals.idle_slots:
            advice = "drop it with pg_drop_replication_slot() unless somebody comes back for it: it keeps WAL"
            found = f"{plural(vitals.idle_slots, 'replication slot')} that nobody uses"
            return Finding("transactions", "warn", found, advice)
        return Finding("transactions", "ok", f"the oldest is open for {span(longest_s)}")
    level: Level = "fail" if longest_s > TRANSACTION_FAIL_S else "warn"
    if vitals.oldest_prepared_s == longest_s:
        found, advice = f"a prepared transaction is {span(longest_s)} old", "COMMIT PREPARED or ROLLBACK PREPARED it"
    else:
        found = f"one is open for {span(longest_s)} ({clean(vitals.oldest_transaction)})"
        advice = "end it at its source, or with pg_terminate_backend()"
    return Finding("transactions", level, found, f"{advice}: dead rows stay while it is open, and claims get slower")


def check_connections(facts: Facts) -> Finding:
    used, most = facts.vitals.connections, facts.vitals.max_connections
    found = f"{used} of {most} used"
    share = used / most
    if share < CONNECTIONS_WARN:
        return Finding("connections", "ok", found)
    advice = "raise max_connections, run fewer processes, or put a pooler in between"
    return Finding("connections", "fail" if share >= CONNECTIONS_FAIL else "warn", found, advice)


def check_disk(facts: Facts) -> Finding:
    if facts.disk is None:
        return Finding("disk", "skip", "the server's disk cannot be seen from here; watch it there")
    free, total = facts.disk.free_bytes, facts.disk.total_bytes
    found = f"{size(free)} of {size(total)} free"
    if free < DISK_FAIL_BYTES or free < DISK_FAIL * total:
        return Finding("disk", "fail", found, "make room now: a full disk stops PostgreSQL; see the runbook")
    if free < DISK_WARN_BYTES or free < DISK_WARN * total:
        return Finding(
            "disk",
            "warn",
            found,
            "make room: a lower TASKFLOW_RETENTION_DAYS, fewer files; see the runbook",
        )
    return Finding("disk", "ok", found)


SERVER_CHECKS: Sequence[Callable[[Facts], Finding]] = (
    check_database,
    check_version,
    check_schema,
    check_clock,
    check_durability,
    check_standby,
    check_transactions,
    check_connections,
    check_disk,
)


# The engine ----------------------------------------------------------------------------------------------------------


def check_workers(engine: EngineFacts) -> Finding:
    alive = sum(worker.alive for worker in engine.workers)
    if not alive:
        return Finding("workers", "fail", "none is alive, so nothing runs", "start `taskflow up` or `taskflow worker`")
    return Finding("workers", "ok", f"{alive} alive")


def check_kinds(engine: EngineFacts) -> Finding:
    lonely = [depth for depth in engine.depths if not depth.has_worker]
    if not lonely:
        return Finding("kinds", "ok", "every job that is ready has a live worker that runs its kind")
    named = ", ".join(f"{clean(depth.kind)} in queue {clean(depth.queue)} ({depth.pending:,})" for depth in lonely[:5])
    more = f" and {len(lonely) - 5} more" if len(lonely) > 5 else ""
    start = "start a worker that has the kind and serves the queue"
    advice = f"{start} (`taskflow worker --app …` for jobs of your own, `--queues …`), or cancel the jobs"
    return Finding("kinds", "warn", f"ready, and no live worker runs it: {named}{more}", advice)


def check_queues(engine: EngineFacts) -> Finding:
    paused = pending_in_paused(engine.depths)
    if not paused:
        return Finding("queues", "ok", "none with jobs that are ready is paused")
    named = ", ".join(f"{clean(queue)} ({pending:,})" for queue, pending in list(paused.items())[:5])
    more = f" and {len(paused) - 5} more" if len(paused) > 5 else ""
    return Finding(
        "queues", "warn", f"paused, with jobs that are ready: {named}{more}", "`taskflow queues resume QUEUE`"
    )


def check_leader(engine: EngineFacts) -> Finding:
    if engine.leader is not None:
        return Finding("leader", "ok", f"term {engine.leader.term}, for {span(engine.leader.held_s)}")
    advice = "a supervisor of workers leads: start one; if one runs, look for taskflow.duty.exception in its log"
    return Finding("leader", "fail", "nobody leads: due jobs wait, those of dead workers stay", advice)


def check_partitions(engine: EngineFacts) -> Finding:
    days = engine.upkeep.partition_days
    found = f"made for {plural(days, 'day')} from today on" + (" or more" if days >= 30 else "")
    if days >= PARTITION_OK_DAYS:
        return Finding("partitions", "ok", found)
    advice = "the leader makes seven days: start a worker, and look for taskflow.duty.exception in its log"
    return Finding("partitions", "fail" if days < PARTITION_FAIL_DAYS else "warn", found, advice)


def check_retention(engine: EngineFacts) -> Finding:
    retention = engine.upkeep.retention
    found = kept(retention)
    if not retention.is_looked_after or retention.behind_days <= RETENTION_OK_DAYS:
        return Finding("retention", "ok", found)
    found += f", {plural(retention.behind_days, 'day')} behind"
    if retention.waits_s > 0:
        advice = f"the clock is watched for {span(retention.waits_s)} more: it jumped, or nobody led for a day"
    else:
        advice = "see that somebody leads, and end old transactions (taskflow.partition.busy in the leader's log)"
    return Finding("retention", "warn", found, advice)


def check_dead_rows(engine: EngineFacts) -> Finding:
    rows = engine.upkeep.dead_rows.get("ready", 0)
    found = f"{rows:,} in ready"
    if rows < DEAD_WARN_ROWS:
        return Finding("dead rows", "ok", found)
    advice = "claims walk over them: end old transactions (see above), and see that somebody leads"
    return Finding("dead rows", "fail" if rows >= DEAD_FAIL_ROWS else "warn", found, advice)


def check_dead_letters(engine: EngineFacts) -> Finding:
    count = engine.dead_letters
    if not count:
        return Finding("dead letters", "ok", "none")
    found = f"{count:,}{'+' if count >= DEAD_LETTER_ROWS else ''} failed jobs"
    advice = "look with `taskflow jobs list --status failed`, then retry them or leave them"
    return Finding("dead letters", "warn", found, advice)


def check_deliveries(engine: EngineFacts) -> Finding:
    failing = engine.deliveries
    if not failing.failed and not failing.retrying:
        return Finding("callbacks", "ok", "none has failed")
    found, advice = [], []
    if failing.failed:
        more = "+" if failing.failed >= FAILING_ROWS else ""
        newest = span(max(failing.newest_age_s or 0.0, 0.0))
        found.append(f"{failing.failed:,}{more} failed, the last of them {newest} ago")
        advice += [
            "list them with `taskflow webhooks list --status failed`",
            "`taskflow webhooks replay ID` sends one again",
        ]
    if failing.retrying:
        found.append(f"{failing.retrying:,} tried again after {TROUBLED_FAILURES} failures or more")
        if not failing.failed:
            advice.append("look with `taskflow webhooks list --status pending`")
    advice.append("`taskflow webhooks show ID` says what the receiver answered")
    return Finding("callbacks", "warn", "; ".join(found), "; ".join(advice))


ENGINE_CHECKS: Sequence[Callable[[EngineFacts], Finding]] = (
    check_workers,
    check_kinds,
    check_queues,
    check_leader,
    check_partitions,
    check_retention,
    check_dead_rows,
    check_dead_letters,
    check_deliveries,
)
