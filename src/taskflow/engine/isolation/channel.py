"""
What a worker and its child processes say to each other: msgpack after four bytes of length, over a socket pair.

    worker → child   Run          one attempt; the next one only after Ended
    child → worker   Ready        once, when the lifespan is open
                     Begun        the handler is about to be called: what happens from now on is the job's doing
                     Line         a line of the job's log
                     Progress     how far the handler says it is
                     Ended        what the call came to, and whether the child has had enough
"""

import struct
from typing import TypeAlias

import msgspec

from taskflow.engine.isolation.ending import Ending
from taskflow.engine.job import MAX_PAYLOAD_BYTES, MAX_RESULT_BYTES, Claim

MAX_MESSAGE_BYTES = 4 * max(MAX_PAYLOAD_BYTES, MAX_RESULT_BYTES)  # a result or payload and what is around it
LENGTH = struct.Struct(">I")


class Run(msgspec.Struct, frozen=True, gc=False):
    """Run this attempt. *trace* is its place in a trace, if there is one: traceparent and tracestate."""

    claim: Claim
    trace: tuple[str, str] | None = None


class Ready(msgspec.Struct, frozen=True, tag="ready", gc=False):
    """The child takes attempts."""


class Begun(msgspec.Struct, frozen=True, tag="begun", gc=False):
    """The handler is about to be called."""


class Line(msgspec.Struct, frozen=True, tag="line", gc=False):
    """A line of the log. *written_s* is the monotonic clock, which all processes of a machine share."""

    level: str
    message: str
    written_s: float


class Progress(msgspec.Struct, frozen=True, tag="progress", gc=False):
    """How far the handler says it is; *written_s* as in `Line`."""

    fraction: float
    message: str
    written_s: float


class Ended(msgspec.Struct, frozen=True, tag="ended", gc=False):
    """
    The call came to this.

    Args:
        worn: the child should not be used again.
        told: it had heard that it should end, so that no such signal is still on its way.
    """

    ending: Ending
    worn: bool = False
    told: bool = False


Said: TypeAlias = Ready | Begun | Line | Progress | Ended

_encoder = msgspec.msgpack.Encoder()
decode_run = msgspec.msgpack.Decoder(Run).decode
decode_said = msgspec.msgpack.Decoder(Said).decode


def frame(message: Run | Said) -> bytes:
    """Return the bytes of a message. Raises ValueError over `MAX_MESSAGE_BYTES`."""
    body = _encoder.encode(message)
    if len(body) > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {len(body)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    return LENGTH.pack(len(body)) + body


def length_of(head: bytes) -> int:
    """Return how long the body is that follows. Raises ValueError for what no frame begins with."""
    (length,) = LENGTH.unpack(head)
    if length > MAX_MESSAGE_BYTES:
        raise ValueError(f"a message of {length} bytes, the limit is {MAX_MESSAGE_BYTES}")
    return int(length)
