"""A hub: rooms, events, and clients that do not keep up."""

import json
from typing import Any, Protocol

BUFFER_LIMIT = 1_000  # bytes


class Client(Protocol):
    buffered: int

    def send(self, data: bytes) -> None: ...

    def drop(self) -> None: ...


class Hub:
    def __init__(self) -> None:
        self._rooms: dict[str, set[Client]] = {}

    def join(self, client: Client, room: str) -> None:
        self._rooms.setdefault(room, set()).add(client)

    def leave(self, client: Client, room: str) -> None:
        members = self._rooms.get(room)
        if members is None:
            return
        members.discard(client)
        if not members:
            del self._rooms[room]

    def disconnect(self, client: Client) -> None:
        for room in tuple(self._rooms):
            self.leave(client, room)

    def announce(self, event: dict[str, Any], rooms: set[str]) -> None:
        data = json.dumps(event).encode()
        listeners: set[Client] = set().union(*[self._rooms.get(room, ()) for room in rooms])
        for client in listeners:  # a set of our own: who is dropped leaves those of the rooms
            if client.buffered > BUFFER_LIMIT:
                client.drop()
                self.disconnect(client)
                continue
            try:
                client.send(data)
            except ConnectionError:
                self.disconnect(client)

    def rooms(self) -> dict[str, int]:
        return {room: len(members) for room, members in self._rooms.items()}
