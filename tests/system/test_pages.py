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
from typing import cast

import pytest
from tests.support.pages import DOCS, Block, Shell, blocks_of, run_samples, samples_of
from tests.support.reader import Reader, Step, walk
from tests.support.reference import ROOT
from tests.support.up import Up, left_over, wait_until
from tests.system.pages import operating, pair, submitting, writing

PAGES = {**submitting.PAGES, **writing.PAGES, **operating.PAGES, **pair.PAGES}

# A page of nothing but shell samples, most of them with the JSON that they are answered with.
SAMPLES = "docs/how-to/workers-in-any-language.md"
# Pages with shell samples that are not run here.
ELSEWHERE = {
    "docs/quickstart.md": "tests/contracts/test_quickstart.py",
    "docs/reference/cli.md": "tests/contracts/test_docs.py",  # samples of `--help`: that their options exist
    "docs/concepts/proof.md": "tests/contracts/test_docs.py",  # these run the suite itself
    "CONTRIBUTING.md": "tests/contracts/test_docs.py",  # the same
}


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
        shutil.rmtree(home.path)
    wait_until(lambda: not left_over(home.path), 20)


@pytest.mark.timeout(300)
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


@pytest.mark.timeout(300)
def test_every_sample_of_the_page_about_workers_in_any_language_gives_what_it_shows(home: Home) -> None:
    samples = samples_of(ROOT / SAMPLES)
    assert len([sample for sample in samples if sample.answer]) >= 8  # a changed fence would empty the test
    run_samples(Shell(home.path, home.data, home.folder(SAMPLES)), samples)


def test_every_page_with_commands_is_run() -> None:
    """A new page has to find its steps, or a test of its own."""
    pages = {path.relative_to(ROOT).as_posix(): path for path in (*ROOT.glob("*.md"), *DOCS.glob("**/*.md"))}
    with_commands = {name for name, path in pages.items() if any(one.language == "sh" for one in blocks_of(path))}
    assert with_commands - PAGES.keys() - ELSEWHERE.keys() == {SAMPLES}
    assert ELSEWHERE.keys() <= with_commands
    assert [test for test in ELSEWHERE.values() if not (ROOT / test).exists()] == []


def test_a_block_without_a_step_fails_and_so_does_a_step_without_a_block() -> None:
    page, reader = DOCS / "how-to" / "choose-isolation.md", cast("Reader", None)
    [block] = blocks_of(page)
    done: list[Block] = []
    step = Step("memory_limit_mb", lambda _reader, block: done.append(block))
    walk(page, [step], reader)
    assert done == [block]
    for steps, complaint in (
        ([], "known by 0"),
        ([step, step], "known by 2"),
        ([step, Step("x y", step.do)], "no block"),
    ):
        with pytest.raises(AssertionError, match=complaint):
            walk(page, steps, reader)
