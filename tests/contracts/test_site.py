"""The documentation as a site: built strictly, with a place for every page, and readable without any other host."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.reference import ROOT

PAGES = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").glob("**/*.md")}


class Loads(HTMLParser):
    """Gathers what a browser would fetch in order to show the page; links that a reader may follow are not among it."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {"a": (), "link": ("href",)}.get(tag, ("src", "srcset", "data", "poster"))
        # A canonical link or the like is not fetched.
        self.urls += [value or "" for name, value in attrs if name in names]


@pytest.mark.slow
def test_the_site_builds_strictly_has_every_page_and_needs_no_other_host(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=False, env={"NO_MKDOCS_2_WARNING": "1"}
    )
    assert built.returncode == 0, built.stdout + built.stderr

    pages = {path.relative_to(tmp_path / "site"): path.read_text() for path in (tmp_path / "site").glob("**/*.html")}
    names = {path.with_suffix("").as_posix() for path in pages}
    assert {re.sub(r"README$", "index", name) for name in PAGES} - names == set()
    assert "index" in names
    for path, text in pages.items():
        loads = Loads()
        loads.feed(text)
        assert loads.urls, path
        assert [url for url in loads.urls if re.match(r"([a-z]+:)?//", url)] == [], path
    styles = [path.read_text() for path in (tmp_path / "site").glob("**/*.css")]
    assert styles
    assert [found for text in styles for found in re.findall(r"url\([\"']?(?:https?:)?//[^)]*", text)] == []
    assert (tmp_path / "site" / "search" / "search_index.json").is_file()
