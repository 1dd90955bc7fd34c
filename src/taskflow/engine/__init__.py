"""
The queue. It knows no users, HTTP or tasks, and is usable alone as a library:

    database = Database("postgresql://…")
    async with Engine(database) as engine:
        await engine.enqueue(NewJob("resize", {"width": 640}))

Where things are: `job` what a job is · `policy` what is allowed and what happens next · `store`, `queries/` the SQL
· `client` submit, look, cancel · `registry` kinds and handlers · `worker` runs jobs · `supervision` proves life.
"""

from taskflow.engine.client import Engine
from taskflow.engine.job import Enqueued, Job, JobFilter, JobPage, NewJob, State
from taskflow.engine.registry import Cancel, JobContext, Registry, Retry, Snooze
from taskflow.engine.worker import Worker

__all__ = [
    "Cancel",
    "Engine",
    "Enqueued",
    "Job",
    "JobContext",
    "JobFilter",
    "JobPage",
    "NewJob",
    "Registry",
    "Retry",
    "Snooze",
    "State",
    "Worker",
]
