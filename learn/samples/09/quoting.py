"""CSV is not "join with commas". The text of a cell may hold anything, commas and line breaks too."""

import csv
import io

title = 'Say "hello", then\nwait'


def quote(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'  # RFC 4180: in quotes, and quotes doubled


for name, line in (("joined", f"1,{title},pending\n"), ("quoted", f"{quote('1')},{quote(title)},{quote('pending')}\n")):
    rows = list(csv.reader(io.StringIO(line)))
    print(f"{name}: {len(rows)} row(s), {rows}")
