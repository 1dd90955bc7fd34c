"""The page about workers in any language is run as it stands, like the quickstart."""

from pathlib import Path

import pytest

from tests.support.pages import DOCS, Shell, run_samples, samples_of
from tests.support.up import Up

PAGE = DOCS / "how-to" / "workers-in-any-language.md"


@pytest.mark.system
@pytest.mark.slow
def test_every_sample_of_the_page_gives_what_it_shows(tmp_path: Path) -> None:
    data = tmp_path / ".local" / "share" / "taskflow"
    data.parent.mkdir(parents=True)
    up = Up(data, "--port", "0")
    try:
        up.wait_ready()
        run_samples(Shell(tmp_path, data), samples_of(PAGE))
    finally:
        up.stop()


def test_the_page_has_samples_with_answers() -> None:
    """The reader above finds them: a changed fence would otherwise empty the test."""
    assert len([sample for sample in samples_of(PAGE) if sample.answer]) >= 8
