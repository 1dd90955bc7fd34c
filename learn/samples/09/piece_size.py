"""How large should a piece be? Small ones cost a system call each, large ones cost memory."""

import os
import socket
import threading
from time import perf_counter

TOTAL = 4_000_000  # bytes
ours, theirs = socket.socketpair()
threading.Thread(target=lambda: [None for _ in iter(lambda: theirs.recv(1_000_000), b"")], daemon=True).start()
for size in (50, 1_000, 65_536, 1_000_000):
    piece = os.urandom(size)
    started = perf_counter()
    for _ in range(TOTAL // size):
        ours.sendall(piece)
    print(f"{size:9,} bytes a piece: {TOTAL / (perf_counter() - started) / 1e6:7.0f} MB/s")
ours.close()
