"""The quickstart is run as it stands, against a real `taskflow up`: the page cannot lie."""

from pathlib import Path

import pytest

from tests.support.reference import ROOT
from tests.support.samples import Sample, run_samples, samples_of


def samples() -> list[Sample]:
    """Return the page's samples in their order, without the start itself, which is the fixture's."""
    found = samples_of(ROOT / "docs" / "quickstart.md")
    assert found.pop(0).script == "make up\n"
    return found


@pytest.mark.system
@pytest.mark.slow
def test_every_sample_of_the_quickstart_gives_what_the_page_shows(tmp_path: Path) -> None:
    run_samples(samples(), tmp_path)


def test_the_page_has_samples_with_answers() -> None:
    """The reader above finds them: a changed fence would otherwise empty the test."""
    assert len([sample for sample in samples() if sample.answer]) >= 12
