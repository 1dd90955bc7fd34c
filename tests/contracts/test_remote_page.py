"""The page about workers in any language is run as it stands, like the quickstart."""

import json
from pathlib import Path

import pytest

from tests.contracts.test_quickstart import SAMPLE, Sample, Shell
from tests.support.reference import ROOT
from tests.support.up import Up

PAGE = ROOT / "docs" / "how-to" / "workers-in-any-language.md"


def samples() -> list[Sample]:
    return [
        Sample(match["script"], json.loads(match["answer"]) if match["answer"] else None)
        for match in SAMPLE.finditer(PAGE.read_text())
    ]


@pytest.mark.system
@pytest.mark.slow
def test_every_sample_of_the_page_gives_what_it_shows(tmp_path: Path) -> None:
    data = tmp_path / ".local" / "share" / "taskflow"
    data.parent.mkdir(parents=True)
    up = Up(data, "--port", "0")
    try:
        up.wait_ready()
        shell = Shell(tmp_path, data)
        for sample in samples():
            if sample.answer is None:
                shell.run(sample.script)
            else:
                shell.run_until(sample)
    finally:
        up.stop()


def test_the_page_has_samples_with_answers() -> None:
    """The reader above finds them: a changed fence would otherwise empty the test."""
    assert len([sample for sample in samples() if sample.answer]) >= 8
