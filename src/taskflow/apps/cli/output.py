"""
How answers look. A terminal gets tables as wide as it is, colours, and times as ages; a pipe or a file gets the same
columns uncut and uncoloured, and times in ISO 8601, one row a line.

What comes out of the database is somebody else's text: characters that a terminal would obey are written out.
"""

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.padding import Padding

GAP = "  "
_UNBOUNDED = 100_000  # what does not fit is for `fit` to say; Rich shall not cut ids
NOTHING = "-"
STATE_STYLES = {
    "pending": "",
    "scheduled": "blue",
    "retrying": "yellow",
    "active": "cyan",
    "completed": "green",
    "failed": "red",
    "cancelled": "dim",
}


@dataclass(frozen=True, slots=True)
class Column:
    """
    A column of a table.

    Args:
        rank: columns with the highest go first when the terminal is too narrow; 0 stays.
        least: width down to which a narrow terminal may cut it; None is never cut.
        style: gives Rich's style for a cell.
    """

    header: str
    rank: int = 0
    least: int | None = None
    right: bool = False
    style: Callable[[str], str] | None = None


class Output:
    """Writes to stdout. *now* is what ages are reckoned from."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self.is_terminal = sys.stdout.isatty()
        self._width = shutil.get_terminal_size().columns  # COLUMNS, else the terminal's, else 80
        self._console: Console | None = None

    def time(self, at: datetime | None) -> str:
        """Return an instant for a table's cell."""
        if at is None:
            return NOTHING
        return age(at, self._now) if self.is_terminal else iso(at)

    def full_time(self, at: datetime | None) -> str:
        """Return an instant where there is room for it."""
        if at is None:
            return NOTHING
        return f"{age(at, self._now)} ({iso(at)})" if self.is_terminal else iso(at)

    def line(self, text: str = "", style: str = "") -> None:
        """Write a line as it is, however long."""
        if self.is_terminal and style:
            from rich.text import Text

            self._rich().print(Text(text, style=style), soft_wrap=True)
        else:
            typer.echo(text)

    def facts(self, pairs: Iterable[tuple[str, str, str]]) -> None:
        """Write lines of name and value, each with the value's style."""
        pairs = list(pairs)
        width = max(len(name) for name, _, _ in pairs)
        for name, value, style in pairs:
            if not self.is_terminal:
                typer.echo(f"{name:<{width}}{GAP}{value}")
                continue
            from rich.text import Text

            self._rich().print(Text.assemble((f"{name:<{width}}{GAP}", "dim"), (value, style)), soft_wrap=True)

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, indent: int = 0) -> None:
        """
        Write *rows*, whose cells are clean; what is empty is a dash, so that columns can be counted.

        A terminal is spared columns that are empty all the way down, if they have a rank.
        """
        if not self.is_terminal:
            from rich.cells import cell_len

            cells, widths = _measured(columns, rows)
            for line in ([column.header for column in columns], *cells):
                padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
                typer.echo(" " * indent + GAP.join(padded).rstrip())
            return
        self._rich().print(self.layout(columns, rows, indent=indent), crop=False)

    def layout(self, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, indent: int = 0) -> "Padding":
        """Return a terminal's table, as `table` writes it."""
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        cells, widths = _measured(columns, rows)
        for index, column in enumerate(columns):
            if column.rank and all(row[index] == NOTHING for row in cells):
                widths[index] = 0
        widths = fit(columns, widths, self._width - indent)
        table = Table(box=None, padding=(0, len(GAP), 0, 0), pad_edge=False, header_style="bold")
        shown = [index for index, width in enumerate(widths) if width]
        for index in shown:
            table.add_column(
                Text(columns[index].header),
                width=widths[index],
                no_wrap=True,
                overflow="ellipsis",
                justify="right" if columns[index].right else "left",
            )
        for row in cells:
            table.add_row(*(Text(row[index], style=_style(columns[index], row[index])) for index in shown))
        return Padding(table, (0, 0, 0, indent), expand=False)

    def json(self, document: Any) -> None:
        """Write one JSON document in UTF-8: indented in a terminal, else on one line."""
        import msgspec

        text = msgspec.json.encode(document)
        typer.echo(msgspec.json.format(text, indent=2) if self.is_terminal else text)

    def _rich(self) -> "Console":
        if self._console is None:
            from rich.console import Console

            self._console = Console(width=_UNBOUNDED, highlight=False, markup=False, emoji=False)
        return self._console


def _measured(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> tuple[list[list[str]], list[int]]:
    """Return the cells as they are written, and how wide each column wants to be."""
    from rich.cells import cell_len

    cells = [[cell or NOTHING for cell in row] for row in rows]
    widths = [
        max(cell_len(column.header), *(cell_len(row[index]) for row in cells), 0)
        for index, column in enumerate(columns)
    ]
    return cells, widths


def fit(columns: Sequence[Column], widths: Sequence[int], available: int) -> list[int]:
    """
    Return a width for each column so that they fit side by side, 0 for one that is left out.

    Columns that may be cut are, down to their least width; where that does not do, columns go, highest rank first.
    """
    fitted = list(widths)

    def excess(wanted: Sequence[int]) -> int:
        shown = [width for width in wanted if width]
        return sum(shown) + len(GAP) * (len(shown) - 1) - available

    def least(index: int) -> int:
        limit = columns[index].least
        return fitted[index] if limit is None else min(fitted[index], limit)

    while excess([least(index) for index in range(len(columns))]) > 0:
        index = max((index for index, width in enumerate(fitted) if width), key=lambda index: columns[index].rank)
        if not columns[index].rank:
            break
        fitted[index] = 0
    while (over := excess(fitted)) > 0:
        cuttable = [index for index in range(len(columns)) if fitted[index] > least(index)]
        if not cuttable:
            break
        index = max(cuttable, key=lambda index: fitted[index])
        fitted[index] = max(fitted[index] - over, least(index))
    return fitted


def age(at: datetime, now: datetime) -> str:
    """Return how long before or after *now* an instant is, in its largest unit."""
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


def span(seconds: float) -> str:
    """Return a length of time in its largest unit: `250ms`, `1.5s`, `12s`, `3m`, `5h`, `9d`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s".replace(".0s", "s")
    for unit_s, unit, below in ((1, "s", 120), (60, "m", 120), (3600, "h", 48)):
        if seconds < below * unit_s:
            return f"{seconds // unit_s:.0f}{unit}"
    return f"{seconds // 86400:.0f}d"


def iso(at: datetime) -> str:
    """Return an instant in UTC with milliseconds and `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def size(count: int) -> str:
    """Return a number of bytes for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def plural(count: int, word: str, words: str | None = None) -> str:
    """Return a number of things; *words* is the plural where it is not *word* and an s."""
    return f"{count:,} {word if count == 1 else words or f'{word}s'}"


def counted(count: int, limit: int) -> str:
    """Return a number that was counted up to *limit*."""
    return f"{count:,}+" if count >= limit else f"{count:,}"


def clean(text: str) -> str:
    """Return *text* on one line, with what a terminal would obey written as its number."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _style(column: Column, cell: str) -> str:
    return column.style(cell) if column.style is not None else ""
