"""
One connected client: what it may say, what it hears, and how the conversation ends.

    client → server   {"type": "subscribe", "rooms": ["tasks"]}, {"type": "unsubscribe", ...}, {"type": "ping"}
    server → client   connection.ready, subscription.confirmed, pong, error, task.created, task.updated, task.deleted
"""

import asyncio
import json
import re
from typing import Any
from uuid import uuid4

from taskflow_learn.clock import timestamp
from taskflow_learn.errors import JSONValue
from taskflow_learn.http.wire import EndOfStream, Wire
from taskflow_learn.log import Logger
from taskflow_learn.websocket.frames import CloseCode, Frame, Opcode, ProtocolError, encode_close, encode_frame
from taskflow_learn.websocket.messages import MessageReader, PeerClosed

DEFAULT_ROOM = "tasks"
ROOM_LIMIT = 20  # rooms a client may be in
_ROOM = re.compile(r"[A-Za-z0-9:_-]{1,64}")
_CLOSE_WAIT_S = 1.0  # how long the peer may take to answer our close frame


class Client:
    """
    A socket and the rooms it is in.

    Args:
        buffer_limit: bytes that may wait for a client that reads slowly. Over it the client is dropped: one slow reader
            must not fill the memory that all share. Who was dropped connects again and reads the state anew.
    """

    def __init__(
        self, wire: Wire, writer: asyncio.StreamWriter, log: Logger, *, message_limit: int, buffer_limit: int
    ) -> None:
        self.id = str(uuid4())
        self.rooms = {DEFAULT_ROOM}
        self.is_alive = True  # heard from since the last heartbeat
        self._wire = wire
        self._writer = writer
        self._log = log
        self._buffer_limit = buffer_limit
        self._is_closing = False
        self._messages = MessageReader(wire, limit=message_limit, expect_mask=True, on_control=self._on_control)

    async def converse(self) -> None:
        """Greet, then answer messages until either side ends it."""
        rooms: list[JSONValue] = [*sorted(self.rooms)]
        self.send({"type": "connection.ready", "clientId": self.id, "timestamp": timestamp(), "subscribedRooms": rooms})
        try:
            while True:
                self._answer(await self._messages.read())
                await self._writer.drain()  # who asks faster than they read the answers is not read from meanwhile
        except PeerClosed as closed:
            self.close(CloseCode.NORMAL if closed.code == CloseCode.NO_STATUS else closed.code)
        except ProtocolError as error:
            self._log.warn("WebSocket closed", clientId=self.id, code=int(error.code), reason=error.reason)
            self.close(error.code, error.reason)
            await self._await_close()
        except (EndOfStream, ConnectionError):
            self._is_closing = True  # gone without a word

    def send(self, message: JSONValue) -> None:
        self.send_frame(encode_text(message))

    def send_frame(self, data: bytes) -> None:
        """Write an encoded frame, or drop a client that does not keep up."""
        if self._is_closing:
            return
        if self._writer.transport.get_write_buffer_size() > self._buffer_limit:
            self._log.warn("WebSocket dropped: it does not read", clientId=self.id)
            self.drop()
            return
        self._writer.write(data)

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame, once. Nothing may follow it."""
        if not self._is_closing:
            self.send_frame(encode_close(code, reason))
            self._is_closing = True

    def drop(self) -> None:
        """End the connection without a word, as there is nobody to hear it."""
        self._is_closing = True
        self._writer.transport.abort()

    def beat(self) -> None:
        """Ask for a sign of life; drop a client that gave none since the last time."""
        if not self.is_alive:
            self._log.warn("WebSocket dropped: it is silent", clientId=self.id)
            self.drop()
            return
        self.is_alive = False
        self.send_frame(encode_frame(Opcode.PING, b""))

    def _on_control(self, frame: Frame) -> None:
        self.is_alive = True
        if frame.opcode is Opcode.PING:
            self.send_frame(encode_frame(Opcode.PONG, frame.payload))

    def _answer(self, text: str) -> None:
        self.is_alive = True
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            self._send_error("INVALID_MESSAGE", "a message is a JSON object with a type")
        elif message["type"] == "ping":
            self.send({"type": "pong", "timestamp": timestamp()})
        elif message["type"] in {"subscribe", "unsubscribe"}:
            self._change_rooms(message)
        else:
            self._send_error("UNSUPPORTED_MESSAGE", "types are subscribe, unsubscribe and ping")

    def _change_rooms(self, message: dict[str, Any]) -> None:
        rooms = message.get("rooms")
        if not isinstance(rooms, list) or not all(isinstance(room, str) and _ROOM.fullmatch(room) for room in rooms):
            self._send_error(
                "INVALID_MESSAGE", "rooms must be an array of names of 1 to 64 characters A-Z a-z 0-9 : _ -"
            )
            return
        changed = self.rooms | {*rooms} if message["type"] == "subscribe" else self.rooms - {*rooms}
        if len(changed) > ROOM_LIMIT:
            self._send_error("INVALID_MESSAGE", f"a client may be in {ROOM_LIMIT} rooms")
            return
        self.rooms = changed
        self.send({"type": "subscription.confirmed", "rooms": [*sorted(changed)], "timestamp": timestamp()})

    def _send_error(self, code: str, message: str) -> None:
        self.send({"type": "error", "code": code, "message": message, "timestamp": timestamp()})

    async def _await_close(self) -> None:
        """Read on until the peer has answered our close frame: closing first could cost it what we wrote last."""
        try:
            async with asyncio.timeout(_CLOSE_WAIT_S):
                while True:
                    await self._wire.exactly(self._wire.buffered)
                    await self._wire.fill()
        except (TimeoutError, EndOfStream, ConnectionError):
            return


def encode_text(message: JSONValue) -> bytes:
    """Return *message* as a text frame of JSON."""
    return encode_frame(Opcode.TEXT, json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode())
