"""
Pages and the samples they show: one parser for both who write and who test.

`python3 learn/tests/sync_samples.py` copies every sample file into the block below its marker, so that after a change
of a sample no page has to be edited by hand. `test_guides.py` holds the two equal.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LEARN = Path(__file__).resolve().parents[1]
GUIDES = LEARN / "guides"

# A marker stands directly above its block: <!-- sample: samples/03/list_is_slow.py -->  or  <!-- run -->  or
# <!-- run: server -->, whose commands find a fresh server of ours where they say localhost:3000.
_BLOCK = re.compile(
    r"^<!-- (?P<marker>sample: (?P<sample>\S+)|run|run: server) -->\n```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """A line after `$`, and the lines that the page shows below it."""

    line: int  # of the page, from 1
    text: str
    expected: list[str]


@dataclass(frozen=True, slots=True)
class Page:
    """One guide."""

    path: Path
    text: str

    @property
    def samples(self) -> list[tuple[str, str]]:
        """Name of the file, relative to `learn/`, and the text of its block."""
        return [(match["sample"], match["text"]) for match in _BLOCK.finditer(self.text) if match["sample"]]

    @property
    def commands(self) -> list[Command]:
        return [command for match in _BLOCK.finditer(self.text) if match["sample"] is None for command in _split(match)]

    @property
    def needs_server(self) -> bool:
        return any(match["marker"] == "run: server" for match in _BLOCK.finditer(self.text))

    @property
    def prose(self) -> str:
        """The page without its code."""
        return _FENCE.sub("", self.text)


def list_pages() -> list[Page]:
    return [Page(path, path.read_text(encoding="utf-8")) for path in sorted(GUIDES.glob("*.md"))]


def with_samples(text: str) -> str:
    """Return the page *text* with every sample block as its file is now."""

    def replace(match: re.Match[str]) -> str:
        if match["sample"] is None:
            return match[0]
        sample = (LEARN / match["sample"]).read_text(encoding="utf-8")
        return f"<!-- sample: {match['sample']} -->\n```python\n{sample}```"

    return _BLOCK.sub(replace, text)


def _split(match: re.Match[str]) -> Iterator[Command]:
    first = match.string.count("\n", 0, match.start("text")) + 1
    lines = match["text"].splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield Command(first + start, lines[start].removeprefix("$ "), lines[start + 1 : end])


def main() -> int:
    for page in list_pages():
        text = with_samples(page.text)
        if text != page.text:
            page.path.write_text(text, encoding="utf-8")
            print(f"{page.path.relative_to(LEARN)}: samples brought up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
