"""A deadline on a thread ends the waiting and not the work. A process can be killed."""

import subprocess
import sys
import threading
import time

ENDLESS = "while True: pass"

thread = threading.Thread(target=lambda: [time.sleep(0.01) for _ in range(60)])
thread.start()
thread.join(timeout=0.1)  # seconds
print("thread after its deadline: still running?", thread.is_alive(), "- and there is no thread.kill()")

process = subprocess.Popen([sys.executable, "-c", ENDLESS])
try:
    process.wait(timeout=0.1)
except subprocess.TimeoutExpired:
    process.kill()  # SIGKILL: nothing that the process does can prevent it
    print("process after its deadline: still running?", process.wait() is None)
