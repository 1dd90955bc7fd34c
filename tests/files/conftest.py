"""Fixtures of the API, and of the service on the test's database."""

from pathlib import Path

import pytest
from tests.support.api import api, client
from tests.support.clock import FakeClock

from taskflow.adapters.blobs import DatabaseBlobs
from taskflow.db.pool import Database
from taskflow.files.service import Files

__all__ = ["api", "client"]


@pytest.fixture
def files(database: Database, clock: FakeClock, tmp_path: Path) -> Files:
    """A service whose time is the test's, and whose spools are in `tmp_path`."""
    return Files(database, DatabaseBlobs(database), spool_folder=tmp_path, now=clock)
