"""Python starts with this where its directory is on the path: the process believes that it is ten minutes later."""

import time

OFFSET_S = 600

_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + OFFSET_S
time.time_ns = lambda: _time_ns() + OFFSET_S * 10**9
