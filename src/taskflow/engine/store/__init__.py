"""
The engine's statements, and nothing but them: the only package that runs engine SQL (from `queries/*.sql`).

Each method is one statement on the connection it is given, so callers decide what commits together; one that ends jobs
whose ends have consequences, or claims unique keys, is a transaction of several. Values of `engine.job` go in and come
out; a claim is named in every write about an attempt, and what PostgreSQL refused is returned, never assumed.

Time is the database's. *now* exists for tests, which move it: None, as in production, means its clock.
"""

from taskflow.engine.store.attempts import new_lease_ids
from taskflow.engine.store.base import LEASE_S
from taskflow.engine.store.leading import VACUUMED
from taskflow.engine.store.reading import DEAD_LETTER_ROWS, DEPTH_ROWS, id_floor
from taskflow.engine.store.retention import day_floor
from taskflow.engine.store.statistics import LIVE_ACTIVE, LIVE_ROWS
from taskflow.engine.store.whole import Store

__all__ = [
    "DEAD_LETTER_ROWS",
    "DEPTH_ROWS",
    "LEASE_S",
    "LIVE_ACTIVE",
    "LIVE_ROWS",
    "VACUUMED",
    "Store",
    "day_floor",
    "id_floor",
    "new_lease_ids",
]
