"""A server of its own for every test, on a free port, in the test's event loop."""

import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import httpx
import hypothesis
import pytest

LEARN = Path(__file__).resolve().parents[1]
for folder in (LEARN / "src", LEARN / "tests"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from learn_client import ADMIN, USER, RawConnection  # noqa: E402 - the paths come first
from taskflow_learn.config import Settings  # noqa: E402
from taskflow_learn.log import Logger  # noqa: E402
from taskflow_learn.server import Server  # noqa: E402

hypothesis.settings.register_profile("learn", max_examples=60, stateful_step_count=25, deadline=None)
hypothesis.settings.load_profile("learn")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "covers(*ids): acceptance ids that this test proves")
    config.addinivalue_line("markers", "slow: takes more than a quarter of a second")


@pytest.fixture
def settings() -> Settings:
    """No workers, as most tests need none and a process takes longer to start than a test to run."""
    return Settings(port=0, admin_token=ADMIN, user_token=USER, worker_pool_size=0, report_pool_size=0)


@pytest.fixture
def change() -> Callable[..., Settings]:
    """Make settings, for a test module that overrides `settings`."""

    def make(**changes: object) -> Settings:
        base = Settings(port=0, admin_token=ADMIN, user_token=USER, worker_pool_size=0, report_pool_size=0)
        return replace(base, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def log_text() -> StringIO:
    """What the server of this test logs."""
    return StringIO()


@pytest.fixture
async def server(settings: Settings, log_text: StringIO) -> AsyncIterator[Server]:
    async with Server(settings, Logger(log_text, level="DEBUG")) as running:
        yield running


@pytest.fixture
async def admin(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the admin's token."""
    async with httpx.AsyncClient(base_url=base_url(server), headers={"Authorization": f"Bearer {ADMIN}"}) as client:
        yield client


@pytest.fixture
async def user(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the user's token."""
    async with httpx.AsyncClient(base_url=base_url(server), headers={"Authorization": f"Bearer {USER}"}) as client:
        yield client


@pytest.fixture
async def anyone(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    async with httpx.AsyncClient(base_url=base_url(server)) as client:
        yield client


@pytest.fixture
async def raw(server: Server) -> AsyncIterator[RawConnection]:
    """A TCP connection to the server, for bytes that no client library would send."""
    async with RawConnection.open(server.port) as connection:
        yield connection


def base_url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"
