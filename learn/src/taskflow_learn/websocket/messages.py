"""
Messages: one or more frames of text.

A message may come in fragments, and control frames (ping, pong, close) may stand between them, because a ping must not
wait for the end of a large message. Text is checked as it comes: a fragment that can never become UTF-8 ends the
connection at once, and not after the last megabyte.
"""

import codecs
from collections.abc import Callable

from taskflow_learn.http.wire import Wire
from taskflow_learn.websocket.frames import CloseCode, Frame, Opcode, ProtocolError, parse_close, read_frame


class PeerClosed(Exception):
    """The peer sent a close frame, with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class MessageReader:
    """
    Reads text messages.

    Args:
        expect_mask: true for a server, which hears clients; false for a client.
        on_control: called with every ping and pong.
    """

    def __init__(
        self, wire: Wire, *, limit: int, expect_mask: bool, on_control: Callable[[Frame], None] = lambda _: None
    ) -> None:
        self._wire = wire
        self._limit = limit
        self._expect_mask = expect_mask
        self._on_control = on_control

    async def read(self) -> str:
        """Return the next message. Raise `PeerClosed`, `ProtocolError`, or `EndOfStream` when the line goes dead."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        parts: list[str] = []
        size = 0
        is_open = False  # a message has begun and not ended
        while True:
            frame = await read_frame(self._wire, limit=self._limit - size, expect_mask=self._expect_mask)
            if frame.opcode is Opcode.CLOSE:
                raise PeerClosed(*parse_close(frame.payload))
            if frame.opcode.is_control:
                self._on_control(frame)
                continue
            if (frame.opcode is Opcode.CONTINUATION) is not is_open:
                raise ProtocolError(CloseCode.PROTOCOL_ERROR, "fragments of two messages are mixed")
            if frame.opcode is Opcode.BINARY:
                raise ProtocolError(CloseCode.UNSUPPORTED_DATA, "this server speaks JSON in text messages")
            is_open = True
            size += len(frame.payload)
            try:
                parts.append(decoder.decode(frame.payload, frame.is_final))
            except UnicodeDecodeError:
                raise ProtocolError(CloseCode.INVALID_DATA, "the text is not UTF-8") from None
            if frame.is_final:
                return "".join(parts)
