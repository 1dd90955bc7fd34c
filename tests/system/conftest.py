"""Data directories and `taskflow up` on them; after each test nothing of it may be running."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.up import Up, left_over, wait_until


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/system/" in item.nodeid:
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.slow)
            if sys.platform != "linux":
                item.add_marker(pytest.mark.skip(reason="looks at processes through /proc"))


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory that does not exist yet, with a short path, where every user could reach it."""
    base = Path(tempfile.mkdtemp(prefix="tf-", dir="/tmp"))
    base.chmod(0o755)
    yield base / "data"
    shutil.rmtree(base)


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    """
    A data directory after its first start and stop: most tests are not about that, and it takes seconds.

    Its server does not flush: processes die in these tests, the machine under them does not.
    """
    base = Path(tempfile.mkdtemp(prefix="tf-", dir="/tmp"))
    first = Up(base / "data")
    try:
        first.wait_ready()
    finally:
        first.stop()
    with (base / "data/postgres/postgresql.auto.conf").open("a") as settings:
        settings.write("fsync = off\n")
    (base / "data/postgres.port").unlink()  # tests run side by side
    yield base / "data"
    shutil.rmtree(base)


@pytest.fixture
def made(data: Path, template: Path) -> Path:
    """Let the test's data directory be one that was started before."""
    shutil.copytree(template, data)
    return data


@pytest.fixture
def up(data: Path) -> Iterator[Callable[..., Up]]:
    """Start `taskflow up` on the test's data directory; stopped at the end, and then nothing is left."""
    started: list[Up] = []

    def start(*options: str, **more: object) -> Up:
        started.append(Up(data, *options, **more))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for one in started:
        one.stop()
    wait_until(lambda: not left_over(data), 20)
