"""What a log line costs, by how it is made."""

import io
import json
import logging
from collections.abc import Callable
from time import perf_counter

COUNT = 5_000
stream = io.StringIO()  # in memory, so that we measure the making and not the disk
logger = logging.getLogger("sample")
logger.addHandler(logging.StreamHandler(stream))
logger.setLevel("INFO")
ways: dict[str, Callable[[int], object]] = {
    "write": lambda n: stream.write(f"stored task {n}\n"),
    "write JSON": lambda n: stream.write(f"stored {json.dumps({'task': n})}\n"),
    "logging": lambda n: logger.info("stored task %s", n),
    "below the level": lambda n: logger.debug("stored task %s", n),
}
for name, way in ways.items():
    started = perf_counter()
    for number in range(COUNT):
        way(number)
    print(f"{name:16} {(perf_counter() - started) / COUNT * 1e6:6.2f} us per line")  # microseconds
