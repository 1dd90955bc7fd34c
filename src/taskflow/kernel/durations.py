"""Lengths of time as requests and tables have them: whole milliseconds, or none."""

from datetime import timedelta


def in_ms(length: timedelta | None) -> int | None:
    return None if length is None else length // timedelta(milliseconds=1)


def of_ms(milliseconds: int | None) -> timedelta | None:
    return None if milliseconds is None else timedelta(milliseconds=milliseconds)
