"""Steps of the exercise csv_lines."""

import csv
import io
import tracemalloc
import unittest
from collections.abc import Iterator

from csv_lines import csv_lines

HINTS = [
    "yield each line, with its line break",
    "cell.replace('\"', '\"\"') before you put it in quotes",
    "row.get(column) gives None for what is missing",
    "turn the function into a generator: yield, and no list anywhere",
    "isinstance(value, str) and value.startswith((...)): a number -1 is no formula",
    "with `yield`, nothing is kept; look for a list that is still there",
]


def text(columns: list[str], *rows: dict[str, object]) -> str:
    return "".join(csv_lines(columns, rows))


class CsvLines(unittest.TestCase):
    def test_plain(self) -> None:
        """A header line, and a line for each row."""
        self.assertEqual(text(["id", "title"], {"id": 1, "title": "write"}), 'id,title\n"1","write"\n')
        self.assertEqual(text(["id", "title"]), "id,title\n")

    def test_hostile(self) -> None:
        """Commas, quotes and line breaks come out as they went in."""
        titles = ["a,b", 'say "hi"', "two\nlines", '"', ",", "größer"]
        lines = text(["title"], *[{"title": title} for title in titles])
        self.assertEqual([row[0] for row in csv.reader(io.StringIO(lines, newline=""))], ["title", *titles])

    def test_missing(self) -> None:
        """What is missing is an empty cell."""
        self.assertEqual(text(["a", "b", "c"], {"a": None, "c": 0}), 'a,b,c\n"","","0"\n')

    def test_lazy(self) -> None:
        """A row is read when its line is asked for."""
        read: list[int] = []

        def rows() -> Iterator[dict[str, object]]:
            for number in range(5):
                read.append(number)
                yield {"id": number}

        lines = csv_lines(["id"], rows())
        self.assertEqual(next(lines), "id\n")
        self.assertEqual(read, [])
        self.assertEqual((next(lines), next(lines)), ('"0"\n', '"1"\n'))
        self.assertLessEqual(len(read), 2)

    def test_formula(self) -> None:
        """No cell is a formula."""
        for title, shown in (("=1+1", "'=1+1"), ("@x", "'@x"), ("-1", "'-1"), ("a=b", "a=b"), (-1, "-1")):
            with self.subTest(title=title):
                self.assertEqual(text(["t"], {"t": title}), f't\n"{shown}"\n')

    def test_flat(self) -> None:
        """Memory is flat, however many rows there are."""
        rows: Iterator[dict[str, object]] = ({"id": number, "title": "x" * 100} for number in range(20_000))
        tracemalloc.start()
        for _ in csv_lines(["id", "title"], rows):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        self.assertLess(peak, 100_000, "bytes were held at once")
