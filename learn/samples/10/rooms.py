"""One event, many listeners: encoded once, sent to the room, and nobody is waited for."""

import json


class Client:
    def __init__(self, name: str, rooms: set[str], buffer: bytes = b"") -> None:
        self.name, self.rooms, self.buffer = name, rooms, buffer


clients = [Client("ann", {"tasks"}), Client("bob", {"task:7"}), Client("slow", {"tasks"}, b"x" * 150)]


def announce(event: dict[str, object], rooms: set[str]) -> None:
    data = json.dumps(event).encode()  # once, and not once per client
    for client in [*clients]:  # a copy: who is dropped leaves the list
        if len(client.buffer) > 100:  # bytes
            clients.remove(client)
            print(client.name, "was dropped: it does not read")
        elif rooms & client.rooms:
            client.buffer += data
            print(client.name, "hears", data)


announce({"type": "task.created"}, {"tasks", "task:8"})
