"""What it costs to start one that works, and to hand work to one that waits already."""

import subprocess
import sys
import threading
from collections.abc import Callable
from time import perf_counter

ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


def measure(name: str, action: Callable[[], object]) -> None:
    started = perf_counter()
    action()
    print(f"{name:16} {(perf_counter() - started) * 1e3:6.2f} ms")


def ask() -> None:
    child.stdin.write("ping\n"), child.stdin.flush(), child.stdout.readline()


measure("start a thread", threading.Thread(target=lambda: None).start)
child = subprocess.Popen([sys.executable, "-c", ECHO], stdin=-1, stdout=-1, text=True)
measure("start a process", ask)  # the answer comes when Python is up
measure("ask one that waits", ask), child.communicate()
