"""Fixtures of workers over HTTP."""

from collections.abc import AsyncIterator

import pytest
from tests.support.api import Api, api, client
from tests.support.remote import RemoteTester

__all__ = ["api", "client"]


@pytest.fixture
async def worker(api: Api) -> AsyncIterator[RemoteTester]:
    """A worker whose kind is published; it may submit too."""
    async with api.client(await api.key("worker", "jobs:write", "jobs:read")) as client:
        worker = RemoteTester(api, client)
        await worker.publish()
        yield worker
