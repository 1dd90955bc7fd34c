"""What the engine's tests share."""

import pytest
from tests.engine.worksite import Worksite
from tests.support.clock import FakeClock

from taskflow.db.query import Connection
from taskflow.engine.store import Store


@pytest.fixture
async def site(store: Store, connection: Connection, clock: FakeClock) -> Worksite:
    """A queue with one live worker and no jobs."""
    site = Worksite(store, connection, clock)
    await site.start_worker(site.worker_id)
    return site
