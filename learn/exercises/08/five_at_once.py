"""
Start five jobs at once.

`run_all(function, inputs, workers)` calls *function* with each input, on a pool of so many processes. It returns a list
of outcomes, in the order of the inputs:

    {"output": what the function returned}
    {"error": "ZeroDivisionError: division by zero"}      if it raised

One job that fails costs nobody else their result. This version is right as long as nothing fails, and it takes turns.
Use `concurrent.futures`; *function* is at the top of a module, so that a process can find it by its name.
"""

from collections.abc import Callable, Sequence
from typing import Any


def run_all(function: Callable[[Any], Any], inputs: Sequence[Any], workers: int) -> list[dict[str, Any]]:
    return [{"output": function(value)} for value in inputs]
