"""
The engine's statements, and nothing but them: the only package that runs engine SQL (from `queries/*.sql`).

Each method is one statement on the connection it is given, so callers decide what commits together. Values of
`engine.job` go in and come out; a claim is named in every write about an attempt, and what PostgreSQL refused is
returned, never assumed.

Time is the database's. *now* exists for tests, which move it: None, as in production, means its clock.
"""

from taskflow.engine.store.attempts import AttemptStatements, new_lease_id
from taskflow.engine.store.base import LEASE_S
from taskflow.engine.store.jobs import JobStatements
from taskflow.engine.store.leading import VACUUMED, LeaderStatements
from taskflow.engine.store.reading import DEAD_LETTER_ROWS, DEPTH_ROWS, MAX_ID, ReadStatements, id_floor
from taskflow.engine.store.schedules import ScheduleStatements
from taskflow.engine.store.statistics import LIVE_ACTIVE, LIVE_ROWS, StatStatements
from taskflow.engine.store.workers import WorkerStatements

__all__ = [
    "DEAD_LETTER_ROWS",
    "DEPTH_ROWS",
    "LEASE_S",
    "LIVE_ACTIVE",
    "LIVE_ROWS",
    "MAX_ID",
    "VACUUMED",
    "Store",
    "id_floor",
    "new_lease_id",
]


class Store(
    JobStatements,
    AttemptStatements,
    ReadStatements,
    WorkerStatements,
    LeaderStatements,
    ScheduleStatements,
    StatStatements,
):
    """See the module. Stateless but for *now*; share one."""
