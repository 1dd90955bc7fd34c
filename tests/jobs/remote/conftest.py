"""Fixtures of workers over HTTP. Databases are emptied and used again, as in the engine's tests."""

from collections.abc import AsyncIterator

import pytest
from tests.engine.conftest import database_url, spoilt_schema
from tests.support.api import Api, api, client
from tests.support.remote import RemoteTester

__all__ = ["api", "client", "database_url", "spoilt_schema"]


@pytest.fixture
async def worker(api: Api) -> AsyncIterator[RemoteTester]:
    """A worker whose kind is published; it may submit too."""
    async with api.client(await api.key("worker", "jobs:write", "jobs:read")) as client:
        worker = RemoteTester(api, client)
        await worker.publish()
        yield worker
