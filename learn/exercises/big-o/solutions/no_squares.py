"""Get rid of the square."""


def first_repeated(names: list[str]) -> str | None:
    """Return the first name that was there before, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def in_both(ours: list[str], theirs: list[str]) -> list[str]:
    """Return the names of *ours* that are also in *theirs*, in our order."""
    known = set(theirs)
    return [name for name in ours if name in known]


def groups(names: list[str]) -> dict[int, list[str]]:
    """Return the names by their length, in the order in which they stand."""
    found: dict[int, list[str]] = {}
    for name in names:
        found.setdefault(len(name), []).append(name)
    return found
