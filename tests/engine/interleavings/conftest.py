"""One database and its connections for all orders: what takes time is not repeated."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.conftest import borrowed_database
from tests.engine.interleavings.ground import Ground, opened

from taskflow.db.embedded import EmbeddedPostgres


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def ground(postgres: EmbeddedPostgres) -> AsyncIterator[Ground]:
    with borrowed_database(postgres) as url:
        async with opened(url) as ground:
            yield ground


@pytest.fixture
def replayed(request: pytest.FixtureRequest) -> str | None:
    """The order that is to be played again, if one is."""
    word: str | None = request.config.getoption("--order")
    return word
