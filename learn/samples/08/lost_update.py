"""The lock of the interpreter protects Python, not your program: between reading and writing somebody else may run."""

import threading
import time
from contextlib import nullcontext

balance = 0


def add(lock: "threading.Lock | nullcontext[None]") -> None:
    global balance
    for _ in range(500):
        with lock:  # one at a time through the three lines below
            seen = balance  # read ...
            time.sleep(0)  # ... anything in between that lets another thread run ...
            balance = seen + 1  # ... and write what may no longer be true


for name, lock in (("no lock", nullcontext()), ("a lock", threading.Lock())):
    balance = 0
    threads = [threading.Thread(target=add, args=[lock]) for _ in range(4)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    print(f"{name:8} 2000 additions, {2000 - balance} lost")
