"""
The engine's statements, and nothing but them: the only package that runs engine SQL (from `queries/*.sql`).

Each method is one statement on the connection it is given, so callers decide what commits together. Values of
`engine.job` go in and come out; a claim is named in every write about an attempt, and what PostgreSQL refused is
returned, never assumed.

Time is the database's. *now* exists for tests, which move it: None, as in production, means its clock.
"""

from taskflow.engine.store.attempts import AttemptStatements, new_lease_ids
from taskflow.engine.store.base import LEASE_S
from taskflow.engine.store.jobs import JobStatements
from taskflow.engine.store.keys import KeyStatements
from taskflow.engine.store.leading import VACUUMED, LeaderStatements
from taskflow.engine.store.queues import QueueStatements
from taskflow.engine.store.reading import DEAD_LETTER_ROWS, DEPTH_ROWS, MAX_ID, ReadStatements, id_floor
from taskflow.engine.store.workers import WorkerStatements

__all__ = [
    "DEAD_LETTER_ROWS",
    "DEPTH_ROWS",
    "LEASE_S",
    "MAX_ID",
    "VACUUMED",
    "Store",
    "id_floor",
    "new_lease_ids",
]


class Store(
    JobStatements,
    KeyStatements,
    AttemptStatements,
    ReadStatements,
    QueueStatements,
    WorkerStatements,
    LeaderStatements,
):
    """See the module. Stateless but for *now*; share one."""
