"""
What a shell offers for values, when `taskflow --install-completion` has been run.

Only what is known without looking anywhere: a key press must not wait for a database.
"""

from collections.abc import Iterable, Iterator


def statuses(incomplete: str) -> Iterator[str]:
    from taskflow.engine.job import State

    return _beginning(incomplete, State)


def priorities(incomplete: str) -> Iterator[str]:
    return _beginning(incomplete, ("high", "normal", "low"))


def built_in_kinds(incomplete: str) -> Iterator[str]:
    from taskflow import kinds

    return _beginning(incomplete, sorted(kinds.BUILTIN))


def _beginning(incomplete: str, words: Iterable[str]) -> Iterator[str]:
    return (str(word) for word in words if word.startswith(incomplete))
