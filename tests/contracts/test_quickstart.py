"""The quickstart is run as it stands, against a real `taskflow up`: the page cannot lie."""

from pathlib import Path

import pytest

from tests.support.pages import DOCS, Sample, Shell, run_samples, samples_of
from tests.support.up import Up


def samples() -> list[Sample]:
    """Return the page's samples in their order, without the start itself, which is the fixture's."""
    found = samples_of(DOCS / "quickstart.md")
    assert found.pop(0).script == "make up\n"
    return found


@pytest.mark.system
@pytest.mark.slow
def test_every_sample_of_the_quickstart_gives_what_the_page_shows(tmp_path: Path) -> None:
    data = tmp_path / ".local" / "share" / "taskflow"
    data.parent.mkdir(parents=True)
    up = Up(data, "--port", "0")
    try:
        up.wait_ready()
        run_samples(Shell(tmp_path, data), samples())
    finally:
        up.stop()


def test_the_page_has_samples_with_answers() -> None:
    """The reader above finds them: a changed fence would otherwise empty the test."""
    assert len([sample for sample in samples() if sample.answer]) >= 12
