"""
How-to and operations pages, and the README, are run as they stand, block by block, against a real `taskflow up`.

What is done with each block is in `tests/system/pages/`. Pages whose own first block starts the deployment have one of
their own; all others share one.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.pages import Reader, Shell, walk
from tests.support.reference import ROOT
from tests.support.up import Up, left_over, wait_until
from tests.system.pages import operating, pair, submitting

PAGES = {**submitting.PAGES, **operating.PAGES, **pair.PAGES}


class Home:
    """
    The reader's home directory, with the data directory where it usually is.

    Args:
        template: a data directory that was started and stopped before.
    """

    def __init__(self, template: Path) -> None:
        self._template = template
        self.path = Path(tempfile.mkdtemp(prefix="tf-", dir="/tmp"))
        self.path.chmod(0o755)
        self.data = self.made(self.path / ".local" / "share" / "taskflow")
        self.banner = ""

    def made(self, data: Path) -> Path:
        """Return a data directory like the first one, whose server flushes as a reader's does."""
        shutil.copytree(self._template, data)
        settings = data / "postgres" / "postgresql.auto.conf"
        settings.write_text(settings.read_text().replace("fsync = off\n", ""))
        return data

    def folder(self, page: str) -> Path:
        folder = self.path / Path(page).stem
        folder.mkdir(exist_ok=True)
        return folder


@pytest.fixture(scope="module")
def home(template: Path) -> Iterator[Home]:
    """A home, and a `taskflow up` that runs there; nothing of it is left at the end."""
    home = Home(template)
    up = Up(home.data)
    try:
        home.banner = up.wait_ready().output
        yield home
    finally:
        up.stop()
    wait_until(lambda: not left_over(home.path), 20)
    shutil.rmtree(home.path)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_block_of_the_page_does_what_it_says(page: str, home: Home, request: pytest.FixtureRequest) -> None:
    folder = home.folder(page)
    starts = page in operating.STARTING
    data = home.made(folder / "data") if starts else home.data
    with ExitStack() as exits:
        shell = Shell(home.path, data, folder)
        reader = Reader(shell, data, exits, lambda: str(request.getfixturevalue("database_url")))
        reader.seen["banner"] = home.banner
        if not starts:
            reader.settle()
        walk(ROOT / page, PAGES[page], reader)
