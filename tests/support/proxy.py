"""
A TCP proxy before PostgreSQL that loses connections in the ways a network does.

It follows the protocol far enough to know which of our statements (by their names in `queries/`) a client runs, so a
test can lose the answer to one statement and no other:

    proxy.lose_answer("complete")   the server does it and commits, the client never hears of it
    proxy.lose_request("claim")     the server never hears of it
    proxy.refuse(b"LISTEN")         cut whoever says this, every time: a pooler that takes no LISTEN
    proxy.swallow()                 every connection stays open and nothing passes: a half-open socket
    proxy.close_door()              the port answers nobody, and those that are connected are cut
    proxy.heal()                    everything passes again; what was swallowed is lost, its connection with it
"""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

_SSL_REQUEST = 80877103
_CANCEL_REQUEST = 80877102
_CHUNK = 64 * 1024


class Proxy:
    """See the module. `async with Proxy(url) as proxy: connect(proxy.url)`."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._door: socket.socket | None = None
        self._port = 0
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._lose_answer: list[tuple[bytes, list[int]]] = []
        self._lose_request: list[tuple[bytes, list[int]]] = []
        self._refused: list[bytes] = []
        self._swallowing = False
        self._swallow_when: bytes | None = None
        self.lost = 0
        """How many answers and requests were lost as asked."""
        self.accepted = 0
        """How many connections were let in."""
        self.statements = 0
        """How many statements clients have sent."""

    async def __aenter__(self) -> Self:
        self._open_door()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close_door()

    @property
    def url(self) -> str:
        """The database's URL by way of this proxy."""
        host = f"{self._parts.username}:{self._parts.password}@127.0.0.1:{self._port}"
        return urlunsplit(self._parts._replace(netloc=host))

    @property
    def open(self) -> int:
        """How many connections pass at the moment."""
        return len(self._links)

    def lose_answer(self, statement: str, *, skip: int = 0) -> None:
        """Cut the client that runs *statement* next, or after *skip* more times, once the server has done it."""
        self._lose_answer.append((f"taskflow:{statement} ".encode(), [skip]))

    def lose_request(self, statement: str) -> None:
        """Cut the client that runs *statement* next, before the server hears of it."""
        self._lose_request.append((f"taskflow:{statement} ".encode(), [0]))

    def refuse(self, words: bytes) -> None:
        """Cut every client whose statement contains *words*."""
        self._refused.append(words)

    def swallow(self, *, when: bytes | None = None) -> None:
        """Pass nothing on any more, in either direction; from the first statement on that contains *when*, if given."""
        if when is None:
            self._swallowing = True
        else:
            self._swallow_when = when

    def cut(self) -> None:
        """Cut all connections; new ones pass."""
        for link in list(self._links):
            link.cut()

    async def close_door(self) -> None:
        """Cut all connections and refuse new ones."""
        if self._door is not None:
            asyncio.get_running_loop().remove_reader(self._door)
            self._door.close()
            self._door = None
        self.cut()
        await asyncio.gather(*self._tasks)

    async def heal(self, *, cut: bool = True) -> None:
        """Let everything pass; without *cut*, what was open when it was swallowed stays open and silent for ever."""
        if self._swallowing:
            self._swallowing = False
            for link in list(self._links):
                link.deaf = True
                if cut:
                    link.cut()
        self._swallow_when = None
        self._refused.clear()
        if self._door is None:
            self._open_door()

    def _open_door(self) -> None:
        self._door = socket.create_server(("127.0.0.1", self._port), backlog=64)
        self._door.setblocking(False)
        self._port = self._door.getsockname()[1]
        asyncio.get_running_loop().add_reader(self._door, self._accept, self._door)

    def _accept(self, door: socket.socket) -> None:
        """Not `start_server` or `sock_accept`: stopped while they accept, they leave the new connection open."""
        with suppress(BlockingIOError):
            client, _ = door.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each answer waits for an ACK
            self.accepted += 1
            link = _Link(self, client)
            self._links.add(link)
            task = asyncio.create_task(self._serve(link), name="proxy-link")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, link: "_Link") -> None:
        try:
            await link.run(self._parts.hostname or "", self._parts.port or 0)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._links.discard(link)

    # What a link asks -----------------------------------------------------------------------------------------------

    def passes(self) -> bool:
        return not self._swallowing

    def judge(self, query: bytes) -> str | None:
        """Say what becomes of a client that runs *query* now."""
        self.statements += 1
        if any(words in query for words in self._refused):
            return "request"
        if self._swallow_when is not None and self._swallow_when in query:
            self._swallowing = True
            return None
        for name, asked in (("answer", self._lose_answer), ("request", self._lose_request)):
            for wish in asked:
                pattern, skip = wish
                if pattern not in query:
                    continue
                if skip[0]:
                    skip[0] -= 1
                    continue
                asked.remove(wish)
                self.lost += 1
                return name
        return None


class _Link:
    """One client's connection, both directions, cut into protocol messages."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._socket = client
        self._statements: dict[bytes, bytes] = {}
        self.deaf = False  # nothing passes here any more
        self._mute = False  # the answer that comes now is not passed on
        self._ended = asyncio.Event()

    def cut(self) -> None:
        """End it with a reset: nothing that is still in a buffer arrives."""
        self._ended.set()

    async def run(self, host: str, port: int) -> None:
        self._client, self._to_client = await asyncio.open_connection(sock=self._socket)
        try:
            self._server, self._to_server = await asyncio.open_connection(host, port)
            try:
                ways = [asyncio.ensure_future(way) for way in (self._forward(), self._back(), self._ended.wait())]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            finally:
                self._to_server.transport.abort()
        finally:
            self._to_client.transport.abort()

    async def _forward(self) -> None:
        """Client to server."""
        while True:  # before the first message with a type there may be a request for SSL
            head = await self._client.readexactly(8)
            length, code = struct.unpack("!II", head)
            self._send(self._to_server, head + await self._client.readexactly(length - 8))
            if code == _CANCEL_REQUEST:
                return
            if code != _SSL_REQUEST:
                break
        messages = _Messages()
        while data := await self._client.read(_CHUNK):
            for kind, body, raw in messages.cut(data):
                if (query := self._query_of(kind, body)) is not None:
                    match self._proxy.judge(query):
                        case "request":
                            self.cut()
                            return
                        case "answer":
                            self._mute = True
                self._send(self._to_server, raw)

    async def _back(self) -> None:
        """Server to client."""
        messages = _Messages()
        ssl_answered = False
        while data := await self._server.read(_CHUNK):
            if not ssl_answered:  # the one byte that says no to SSL is no message
                ssl_answered = True
                if data[:1] in b"NS" and len(data) == 1:
                    self._send(self._to_client, data)
                    continue
            for kind, _body, raw in messages.cut(data):
                if not self._mute:
                    self._send(self._to_client, raw)
                elif kind == b"Z":  # ready for the next: whatever was asked has been done and committed
                    self.cut()
                    return

    def _query_of(self, kind: bytes, body: bytes) -> bytes | None:
        """Return the text that a message runs: a simple query, or the statement that is bound."""
        if kind == b"Q":
            return body
        if kind == b"P":
            name, query = body.split(b"\0", 2)[:2]
            self._statements[name] = query
        if kind == b"B":
            return self._statements.get(body.split(b"\0", 2)[1], b"")
        return None

    def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if self._proxy.passes() and not self.deaf:
            writer.write(data)


class _Messages:
    """Cuts a stream into messages: type, length, body."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
        self._rest += data
        while len(self._rest) >= 5:
            end = 1 + int.from_bytes(self._rest[1:5], "big")
            if len(self._rest) < end:
                return
            raw, self._rest = self._rest[:end], self._rest[end:]
            yield raw[:1], raw[5:], raw
