"""
A CSV export that a million rows can pass through.

`csv_lines(columns, rows)` yields the lines of a CSV file: first the names of the columns, then a line for each row. A
row is a dict; its values are strings or numbers.

- Every cell of a row is in double quotes, and a double quote inside is doubled (RFC 4180). The header line is not
  quoted. Every line ends in a line break.
- A value that is missing, or None, is an empty cell: "".
- Lazy: a row is taken from *rows* when its line is asked for, and not before.
- Spreadsheets run what begins with = + - or @ as a formula. A *string* that begins so gets an apostrophe before it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence


def csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    lines = [",".join(f'"{row[column]}"' for column in columns) for row in rows]
    return iter([",".join(columns), *lines])
