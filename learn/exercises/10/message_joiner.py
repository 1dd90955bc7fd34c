"""
From frames to messages.

`MessageJoiner(limit).feed(opcode, is_final, payload)` gets one frame at a time, already unmasked. It returns a message
(a string) when one is complete, and None otherwise.

- TEXT begins a message, CONTINUATION goes on with it, and is_final ends it.
- Control frames (opcode 8 and above) may stand between fragments. They do not belong to the message: None.
- What breaks a rule raises ProtocolError with a close code:
    1002  a CONTINUATION without a beginning, or a TEXT inside a message that has not ended
    1003  BINARY: this server speaks text
    1007  text that is not UTF-8. A fragment may end inside a letter, a message may not.
    1009  more than *limit* bytes in all fragments together
- After a message, the joiner is ready for the next one.
"""

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


class ProtocolError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class MessageJoiner:
    def __init__(self, limit: int) -> None:
        self._limit = limit

    def feed(self, opcode: int, is_final: bool, payload: bytes) -> str | None:
        """This version believes that every message is one frame."""
        return payload.decode()
