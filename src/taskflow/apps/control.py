"""
The control channel, as a child process holds it: proof of life to the supervisor, heartbeats from it, its end.

The supervisor may vanish without a word (SIGKILL). Then the channel ends: the child is told, and whatever it does or
fails to do after that, it is gone `grace_s` later. That last word belongs to a thread, because the event loop may be
blocked by a handler; the thread sleeps in `poll` and costs nothing.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from taskflow.kernel.processes import EXIT_ORPHANED, wait_for_hang_up

ALIVE = b"a"
READY = b"r"  # alive, and doing what it is for
HEARTBEAT = b"h"
STOP = b"s"  # before a SIGTERM of the supervisor: what tells it from everybody else's
ALIVE_EVERY_S = 1.0


class ControlChannel:
    """
    The child's end.

    Args:
        fd: its file descriptor, owned from now on.
        on_heartbeat: called for each heartbeat that the supervisor made.
        on_stop: called when the supervisor wants this process to end.
        on_orphaned: called once when the supervisor is gone; the process ends *grace_s* later in any case.
    """

    def __init__(
        self,
        fd: int,
        *,
        on_heartbeat: Callable[[], None] = lambda: None,
        on_stop: Callable[[], None] = lambda: None,
        on_orphaned: Callable[[], None],
        grace_s: float,
    ) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self._on_heartbeat = on_heartbeat
        self._on_stop = on_stop
        self._on_orphaned = on_orphaned
        self._grace_s = grace_s
        self._word = ALIVE

    def mark_ready(self) -> None:
        """From now on, say that this process does what it is for: the supervisor's start waits for that."""
        self._word = READY
        self._speak()

    async def run(self) -> None:
        """Prove life every second until cancelled."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=_end_after, args=(os.dup(self._socket.fileno()), self._grace_s), daemon=True).start()
        loop.add_reader(self._socket, self._read)
        try:
            while True:
                self._speak()
                await asyncio.sleep(ALIVE_EVERY_S)
        finally:
            loop.remove_reader(self._socket)

    def _speak(self) -> None:
        with suppress(OSError):  # full: the supervisor is busy; broken: the reader learns it
            self._socket.send(self._word)

    def _read(self) -> None:
        try:
            heard = self._socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if heard:
            if HEARTBEAT in heard:
                self._on_heartbeat()
            for _ in range(heard.count(STOP)):
                self._on_stop()
        else:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._on_orphaned()


def _end_after(fd: int, grace_s: float) -> None:
    wait_for_hang_up(fd)
    time.sleep(grace_s)
    os._exit(EXIT_ORPHANED)
