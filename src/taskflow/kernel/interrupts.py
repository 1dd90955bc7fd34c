"""
Ctrl-C while a program is being loaded.

Python raises KeyboardInterrupt between any two instructions, and importing runs code that drops what it does not
expect: of a hundred presses during a start, one was lost (measured), and what should have stopped went on. While
modules are loaded there is nothing to tidy up, so the signal may as well end the process.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_Handler = Callable[..., Any] | int | None


@contextmanager
def loading() -> Iterator[None]:
    """Within the block Ctrl-C ends the process at once, unless somebody has said otherwise (`nohup`, a handler)."""
    with _instead_of(signal.default_int_handler, signal.SIG_DFL):
        yield


@contextmanager
def loaded() -> Iterator[None]:
    """Within the block, inside one of `loading`, Ctrl-C is a KeyboardInterrupt again."""
    with _instead_of(signal.SIG_DFL, signal.default_int_handler):
        yield


@contextmanager
def _instead_of(one: _Handler, other: _Handler) -> Iterator[None]:
    if signal.getsignal(signal.SIGINT) != one or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, other)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, one)
