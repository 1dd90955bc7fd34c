"""Start five jobs at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any


def run_all(function: Callable[[Any], Any], inputs: Sequence[Any], workers: int) -> list[dict[str, Any]]:
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(function, value) for value in inputs]  # all of them, before we wait for any
        return [_outcome(future) for future in futures]


def _outcome(future: "Future[Any]") -> dict[str, Any]:
    error = future.exception()  # waits
    return {"output": future.result()} if error is None else {"error": f"{type(error).__name__}: {error}"}
