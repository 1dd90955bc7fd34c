"""
Get rid of the square.

Three functions that are right and O(N^2). Make each O(N), with the same answers. The tests give them names that count
how often they are compared: a set hardly compares, because the hash leads it to the place; a list has to.
"""


def first_repeated(names: list[str]) -> str | None:
    """Return the first name that was there before, or None."""
    for index, name in enumerate(names):
        if name in names[:index]:
            return name
    return None


def in_both(ours: list[str], theirs: list[str]) -> list[str]:
    """Return the names of *ours* that are also in *theirs*, in our order."""
    return [name for name in ours if name in theirs]


def groups(names: list[str]) -> dict[int, list[str]]:
    """Return the names by their length, in the order in which they stand."""
    return {len(name): [other for other in names if len(other) == len(name)] for name in names}
