"""The reader leaves in the middle. A `finally` in the generator runs, if somebody closes it."""

from collections.abc import Iterator
from contextlib import closing


def rows() -> Iterator[str]:
    print("  a cursor is opened")
    try:
        for number in range(1_000_000):
            yield f"row {number}"
    finally:
        print("  the cursor is closed")


try:
    with closing(rows()) as stream:  # whatever happens, the generator is told
        for row in stream:
            if row == "row 2":
                raise ConnectionResetError("the browser tab was closed")
except ConnectionError as error:
    print("stopped:", error)
