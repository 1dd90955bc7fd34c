"""From frames to messages."""

import codecs

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


class ProtocolError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class MessageJoiner:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begin()

    def _begin(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._parts: list[str] = []
        self._size = 0
        self._is_open = False

    def feed(self, opcode: int, is_final: bool, payload: bytes) -> str | None:
        if opcode >= CLOSE:
            return None
        if opcode == BINARY:
            raise ProtocolError(1003)
        if (opcode == CONTINUATION) is not self._is_open:
            raise ProtocolError(1002)
        self._is_open = True
        self._size += len(payload)
        if self._size > self._limit:
            raise ProtocolError(1009)
        try:
            self._parts.append(self._decoder.decode(payload, is_final))
        except UnicodeDecodeError:
            raise ProtocolError(1007) from None
        if not is_final:
            return None
        message = "".join(self._parts)
        self._begin()
        return message
