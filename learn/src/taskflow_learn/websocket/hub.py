"""
Who is connected, and who hears what.

An event is encoded once, and the same bytes go to everybody in the room. Nobody is waited for: `write` only hands over
to the socket's buffer, and a client whose buffer is full is dropped, so a broadcast costs the same with a slow client
as without.
"""

import asyncio

from taskflow_learn.clock import timestamp
from taskflow_learn.errors import JSONValue
from taskflow_learn.websocket.client import DEFAULT_ROOM, Client, encode_text
from taskflow_learn.websocket.frames import CloseCode

PATH = "/ws/tasks"


class Hub:
    """All clients of the socket."""

    def __init__(self, *, heartbeat_s: float) -> None:
        self._heartbeat_s = heartbeat_s
        self._clients: set[Client] = set()

    def __len__(self) -> int:
        return len(self._clients)

    async def host(self, client: Client) -> None:
        """Keep *client* in the rooms as long as it stays."""
        self._clients.add(client)
        try:
            await client.converse()
        finally:
            self._clients.discard(client)

    def announce(self, event: str, task: dict[str, JSONValue], request_id: str) -> None:
        """Tell the room of all tasks, and the room of this one, what happened."""
        rooms = {DEFAULT_ROOM, f"task:{task['id']}"}
        data = encode_text({"type": event, "task": task, "requestId": request_id, "timestamp": timestamp()})
        for client in tuple(self._clients):  # a client that is dropped on the way leaves the set
            if not rooms.isdisjoint(client.rooms):
                client.send_frame(data)

    def rooms(self) -> list[JSONValue]:
        """Return each room with the number of clients in it."""
        counts: dict[str, int] = {}
        for client in self._clients:
            for room in client.rooms:
                counts[room] = counts.get(room, 0) + 1
        return [{"name": name, "clients": counts[name]} for name in sorted(counts)]

    async def run(self) -> None:
        """Ask everybody for a sign of life, for ever. One timer for all, not one for each of a thousand."""
        while True:
            await asyncio.sleep(self._heartbeat_s)
            for client in tuple(self._clients):
                client.beat()

    def close(self) -> None:
        """Tell everybody that the server goes away."""
        for client in tuple(self._clients):
            client.close(CloseCode.GOING_AWAY, "the server is stopping")
