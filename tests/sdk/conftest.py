"""What the SDK's tests share: an app on the test's database."""

from collections.abc import AsyncIterator

import pytest

from taskflow import TaskFlow


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[TaskFlow]:
    """An app on the test's database, whose connections are closed before the database is emptied."""
    app = TaskFlow(database_url)
    yield app
    await app.close()
