"""
Every event that a log line may be, declared once: its name, when it is written, and its fields.

Names are `taskflow.<noun>.<what happened>`; pairs end in `.start` and `.stop`, failures in `.exception`. Fields are
flat and carry their unit. Besides its own, a line has `timestamp`, `level` and `module`, and what was bound around it
(`request_id`, `job_id`). The reference page is made from this table, and a test compares it with the source.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of line: *when* it is written, and the names of its fields."""

    when: str
    fields: tuple[str, ...] = ()


EVENTS: Mapping[str, Event] = {
    "taskflow.api.start": Event("The API process is about to take requests.", ("version", "development")),
    "taskflow.api.stop": Event("The API process has answered its last request."),
    "taskflow.api_key.created": Event("An API key was made.", ("key_id", "scopes")),
    "taskflow.api_key.revoked": Event("An API key was ended.", ("key_id",)),
    "taskflow.attempt.abandoned": Event(
        "The worker ends with an attempt that would not stop; the job goes to another.", ("job_id", "kind")
    ),
    "taskflow.attempt.crashed": Event(
        "An attempt ended the child process that it ran in.", ("job_id", "kind", "error")
    ),
    "taskflow.attempt.exception": Event("A handler raised; the attempt failed.", ("job_id", "kind")),
    "taskflow.attempt.overdue": Event(
        "A worker process was ended while this attempt ran past its timeout; it may have blocked the event loop.",
        ("job_id", "kind", "overdue_s"),
    ),
    "taskflow.attempt.stop": Event(
        "An attempt ended, whatever it came to.",
        (
            "job_id",
            "kind",
            "queue",
            "attempt",
            "outcome",
            "state",
            "duration_ms",
            "queue_wait_ms",
            "error",
            "request_id",
        ),
    ),
    "taskflow.attempt.stuck": Event(
        "A handler goes on although it was stopped; its process will be replaced.", ("job_id", "kind", "grace_s")
    ),
    "taskflow.child.nonsense": Event("A child process sent what is no message; it was killed.", ("pid", "error")),
    "taskflow.child.refused": Event("A child process for attempts does not start.", ("error",)),
    "taskflow.claim.no_body": Event(
        "Jobs that were claimed are without the row that says what they are: a partition was dropped by hand. They are "
        "given up.",
        ("jobs", "job_ids"),
    ),
    "taskflow.claim.retry": Event("A claim failed and will be tried again.", ("error",)),
    "taskflow.claim.stray": Event(
        "A worker over HTTP does not know of jobs that it was given; they go back.", ("worker_id", "jobs")
    ),
    "taskflow.database.unreachable": Event(
        "The database was not there at the start; it is tried again at each use.", ("error",)
    ),
    "taskflow.deadline.stop": Event(
        "Attempts of workers over HTTP were ended long after their timeout or cancel.", ("jobs",)
    ),
    "taskflow.duty.exception": Event("A duty of the leader failed; its next round comes.", ("duty", "error")),
    "taskflow.fence.start": Event("The worker cannot prove its life and stops what it runs.", ("running", "silent_s")),
    "taskflow.fence.stop": Event("The worker can prove its life again and goes on."),
    "taskflow.file.prune.exception": Event(
        "Files whose time is up could not be deleted; the next round comes.", ("error",)
    ),
    "taskflow.flush.refused": Event(
        "A flush of outcomes was refused as a whole; each is tried alone.", ("error", "jobs")
    ),
    "taskflow.flush.retry": Event("A flush of outcomes failed and will be tried again.", ("error", "jobs")),
    "taskflow.follow.retry": Event("Logs that are followed could not be read; the next look comes.", ("error",)),
    "taskflow.heartbeat.retry": Event("A heartbeat failed and will be tried again.", ("error", "silent_s")),
    "taskflow.hook.exception": Event(
        "An application's hook after an attempt or a submit raised; what became of the job stands.", ("job_id", "kind")
    ),
    "taskflow.idempotency.prune.exception": Event(
        "Old idempotency keys could not be deleted; the next round comes.", ("error",)
    ),
    "taskflow.kind.broken": Event("A worker published a schema that cannot be read.", ("kind", "error")),
    "taskflow.leader.start": Event("This process leads.", ("term",)),
    "taskflow.leader.stop": Event("This process leads no more.", ("term",)),
    "taskflow.lease.lost": Event(
        "An outcome came too late: the job had been given to another.", ("job_id", "attempt", "outcome")
    ),
    "taskflow.library.log": Event("A library wrote a line; `error` is what a warning was about.", ("message",)),
    "taskflow.listener.lost": Event(
        "The connection for notifications was lost; polls serve until it is back.", ("error",)
    ),
    "taskflow.loop.blocked": Event(
        "A handler has not let the event loop turn for seconds; every job of the process waits for it.",
        ("job_id", "kind", "blocked_s"),
    ),
    "taskflow.outcome.refused": Event(
        "The database does not take an outcome; the attempt is failed instead.", ("job_id", "error")
    ),
    "taskflow.partition.busy": Event(
        "A partition could not be dropped because of somebody's transaction; the next try comes.",
        ("partition", "error"),
    ),
    "taskflow.partition.dropped": Event("A day of what ended long ago was dropped.", ("partition", "size_bytes")),
    "taskflow.partition.kept": Event(
        "Bodies that were to be dropped are needed again: the database's clock went back by days. They were put back.",
        ("partition",),
    ),
    "taskflow.partition.stop": Event("Daily partitions were made.", ("made",)),
    "taskflow.partition.thinned": Event(
        "Of an old day's jobs, all but the few that are needed were dropped.", ("partition", "size_bytes", "kept")
    ),
    "taskflow.publish.retry": Event("The kinds could not be published and will be again.", ("error",)),
    "taskflow.request.exception": Event("A request met a bug of ours; answered 500.", ("route", "error")),
    "taskflow.request.outage": Event("The database went away under a request; answered 503.", ("error",)),
    "taskflow.request.stop": Event(
        "A request was answered.",
        ("method", "path", "route", "status", "duration_ms", "request_bytes", "response_bytes", "principal_id"),
    ),
    "taskflow.result.waiting": Event(
        "An application waits for the result of a job that stays pending: no live worker runs it, or its queue is "
        "paused. Said once a minute at most of jobs of the same kind and queue.",
        ("job_id", "kind", "queue", "reason"),
    ),
    "taskflow.signal.ignored": Event(
        "A worker process was told to end, and not by its supervisor: by a job, or by hand.", ("signal",)
    ),
    "taskflow.rescue.stop": Event(
        "Jobs of workers that are gone were given back.", ("jobs", "leases", "workers", "incarnation", "suspects")
    ),
    "taskflow.retention.wait": Event(
        "What is old is not dropped yet: the clock jumped or nobody led for a day, so it is watched for a day first.",
        ("partitions", "wait_s"),
    ),
    "taskflow.schedule.failed": Event(
        "A schedule was due and its job could not be submitted; its ledger says why.",
        ("schedule_id", "kind", "fire_at"),
    ),
    "taskflow.stream.prune.exception": Event(
        "Old streams of submits could not be forgotten; the next round comes.", ("error",)
    ),
    "taskflow.submit.refused": Event("The database does not take a line of a stream; it is told so.", ("error",)),
    "taskflow.trace.exception": Event("The provider of spans that the application has set failed.", ("error",)),
    "taskflow.trace.lost": Event(
        "The collector does not take spans; `spans` got lost since the last such line. Said once a minute at most.",
        ("spans", "error"),
    ),
    "taskflow.trace.start": Event(
        "This process traces; without an endpoint, as its application has set it up.", ("endpoint", "sampler")
    ),
    "taskflow.trace.unavailable": Event(
        "A collector is named, but OpenTelemetry is not installed: install `taskflow-server[otel]`.", ("error",)
    ),
    "taskflow.worker.unwritten": Event(
        "The worker ends and could not write down what its last jobs came to, because the database is away. They will "
        "be rescued and run again.",
        ("jobs",),
    ),
    "taskflow.worker.drain": Event(
        "The worker takes no more jobs and waits for those it runs.", ("running", "grace_s")
    ),
}
