"""
A hub: rooms, events, and clients that do not keep up.

    hub.join(client, "tasks")         put a client into a room; twice is once
    hub.leave(client, "tasks")        take it out; who is not in it is no error
    hub.disconnect(client)            out of all rooms
    hub.announce(event, rooms)        send an event, a dict, to every client that is in at least one of the rooms
    hub.rooms()                       {"tasks": 2, ...}, the number of clients per room, without empty rooms

- An event is encoded once, as JSON in bytes, and everybody gets the same bytes object, once, in however many of the
  rooms they are.
- A client has `buffered` (bytes that wait for it), `send(data)` and `drop()`. If more than BUFFER_LIMIT bytes wait
  already, it gets nothing more: it is dropped, and leaves all rooms.
- `send` may raise ConnectionError: that client has gone. The others must not suffer.
- When the last client leaves a room, nothing of the room may be left behind.
"""

from typing import Any, Protocol

BUFFER_LIMIT = 1_000  # bytes


class Client(Protocol):
    buffered: int

    def send(self, data: bytes) -> None: ...

    def drop(self) -> None: ...


class Hub:
    def join(self, client: Client, room: str) -> None:
        raise NotImplementedError("who is in which room? Begin with a dict from the room to a set of clients")

    def leave(self, client: Client, room: str) -> None:
        raise NotImplementedError

    def disconnect(self, client: Client) -> None:
        raise NotImplementedError

    def announce(self, event: dict[str, Any], rooms: set[str]) -> None:
        raise NotImplementedError

    def rooms(self) -> dict[str, int]:
        raise NotImplementedError
