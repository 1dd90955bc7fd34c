"""
A worker: a process that reads a job, computes, writes the outcome, and begins again.

It is started as `python -m taskflow_learn.workers.child` with a socket as its standard input. It ends when the socket
does: if the server is killed, the kernel closes the socket and no orphan stays behind.
"""

import contextlib
import json
import os
import signal
import socket
from typing import Any

from taskflow_learn.workers.channel import LENGTH, encode_message
from taskflow_learn.workers.computation import COMPUTATIONS

NICENESS = 5  # who answers requests comes before who computes


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server decides when we end
    os.nice(NICENESS)
    channel = socket.socket(fileno=0)
    while (job := _receive(channel)) is not None:
        channel.sendall(encode_message(_compute(job)))


def _receive(channel: socket.socket) -> dict[str, Any] | None:
    header = channel.recv(LENGTH.size, socket.MSG_WAITALL)
    if len(header) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(header)
    data = channel.recv(length, socket.MSG_WAITALL)
    if len(data) < length:
        return None
    job: dict[str, Any] = json.loads(data)
    return job


def _compute(job: dict[str, Any]) -> dict[str, Any]:
    """Return the outcome as a value. A bug in a computation fails its job and not the worker."""
    try:
        return {"output": COMPUTATIONS[job["kind"]](job["input"])}
    except Exception as error:  # noqa: BLE001 - the edge of a job
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    with contextlib.suppress(ConnectionError):  # the server left while we computed
        main()
