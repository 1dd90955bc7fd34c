"""What the SDK's tests share: an app on the test's database, and a job of it."""

from collections.abc import AsyncIterator

import pytest
from tests.sdk.greetings import Greet

from taskflow import TaskFlow


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[TaskFlow]:
    """An app on the test's database, whose connections are closed before the database is emptied."""
    app = TaskFlow(database_url)
    yield app
    await app.close()


@pytest.fixture
def greet(app: TaskFlow) -> Greet:
    @app.job("greet", queue="greetings", retries=1, timeout_s=5)
    async def greet(name: str, times: int = 1) -> str:
        return f"Hello, {name}! " * times

    return greet
