"""The page about workers in any language is run as it stands, like the quickstart."""

from pathlib import Path

import pytest

from tests.support.reference import ROOT
from tests.support.samples import run_samples, samples_of

PAGE = ROOT / "docs" / "how-to" / "workers-in-any-language.md"


@pytest.mark.system
@pytest.mark.slow
def test_every_sample_of_the_page_gives_what_it_shows(tmp_path: Path) -> None:
    run_samples(samples_of(PAGE), tmp_path)


def test_the_page_has_samples_with_answers() -> None:
    """The reader above finds them: a changed fence would otherwise empty the test."""
    assert len([sample for sample in samples_of(PAGE) if sample.answer]) >= 8
