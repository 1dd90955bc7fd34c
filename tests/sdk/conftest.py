"""What the SDK's tests share: databases of the engine's tests, and an app on one."""

from collections.abc import AsyncIterator

import pytest
from tests.engine.conftest import database_url as database_url
from tests.engine.conftest import spoilt_schema as spoilt_schema

from taskflow import TaskFlow


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[TaskFlow]:
    """An app on the test's database, whose connections are closed before the database is emptied."""
    app = TaskFlow(database_url)
    yield app
    await app.close()
