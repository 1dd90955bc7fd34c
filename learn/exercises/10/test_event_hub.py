"""Steps of the exercise event_hub."""

import gc
import json
import unittest
import weakref

from event_hub import BUFFER_LIMIT, Hub

HINTS = [
    "a dict from the room to a set of clients; setdefault makes a missing set",
    "json.dumps(event).encode(), and send it to the members of the rooms",
    "make one set of all listeners first: set().union(...)",
    "encode before the loop",
    "discard does nothing if there is nothing; delete a room whose set is empty",
    "look at client.buffered before you send; drop, and take it out of all rooms",
    "except ConnectionError around each send; and walk over a copy, as a client that is dropped leaves the set",
    "if something still refers to a client that has disconnected, which structure is it?",
]


class Fake:
    def __init__(self, *, buffered: int = 0, is_gone: bool = False) -> None:
        self.buffered = buffered
        self.is_gone = is_gone
        self.heard: list[bytes] = []
        self.dropped = False

    def send(self, data: bytes) -> None:
        if self.is_gone:
            raise ConnectionResetError
        self.heard.append(data)

    def drop(self) -> None:
        self.dropped = True


class HubSteps(unittest.TestCase):
    def setUp(self) -> None:
        self.hub = Hub()

    def test_rooms(self) -> None:
        """Rooms count their clients."""
        ann, bob = Fake(), Fake()
        for client, room in ((ann, "tasks"), (ann, "tasks"), (bob, "tasks"), (bob, "task:7")):
            self.hub.join(client, room)
        self.assertEqual(self.hub.rooms(), {"tasks": 2, "task:7": 1})

    def test_announce(self) -> None:
        """Who is in the room hears it, the others do not."""
        ann, bob = Fake(), Fake()
        self.hub.join(ann, "tasks")
        self.hub.join(bob, "task:7")
        self.hub.announce({"type": "task.created"}, {"tasks", "nobody is here"})
        self.assertEqual([json.loads(data) for data in ann.heard], [{"type": "task.created"}])
        self.assertEqual(bob.heard, [])

    def test_once(self) -> None:
        """Who is in two of the rooms hears it once."""
        ann = Fake()
        self.hub.join(ann, "tasks")
        self.hub.join(ann, "task:7")
        self.hub.announce({"a": 1}, {"tasks", "task:7"})
        self.assertEqual(len(ann.heard), 1)

    def test_encoded_once(self) -> None:
        """Everybody gets the same bytes object."""
        clients = [Fake() for _ in range(5)]
        for client in clients:
            self.hub.join(client, "tasks")
        self.hub.announce({"a": 1}, {"tasks"})
        self.assertEqual(len({id(client.heard[0]) for client in clients}), 1)

    def test_leave(self) -> None:
        """Who leaves hears nothing more, and an empty room is no room."""
        ann, bob = Fake(), Fake()
        for room in ("tasks", "task:7"):
            self.hub.join(ann, room)
        self.hub.leave(ann, "tasks")
        self.hub.leave(bob, "tasks")
        self.assertEqual(self.hub.rooms(), {"task:7": 1})
        self.hub.disconnect(ann)
        self.hub.disconnect(bob)
        self.hub.announce({"a": 1}, {"tasks", "task:7"})
        self.assertEqual((self.hub.rooms(), ann.heard), ({}, []))

    def test_slow(self) -> None:
        """Who does not read is dropped."""
        slow, fast, nearly = Fake(buffered=BUFFER_LIMIT + 1), Fake(), Fake(buffered=BUFFER_LIMIT)
        for client in (slow, fast, nearly):
            self.hub.join(client, "tasks")
        self.hub.announce({"a": 1}, {"tasks"})
        self.assertEqual([client.dropped for client in (slow, fast, nearly)], [True, False, False])
        self.assertEqual([len(client.heard) for client in (slow, fast, nearly)], [0, 1, 1])
        self.assertEqual(self.hub.rooms(), {"tasks": 2})

    def test_gone(self) -> None:
        """Who has gone costs the others nothing."""
        clients = [Fake(is_gone=number % 2 == 0) for number in range(20)]
        for client in clients:
            self.hub.join(client, "tasks")
        self.hub.announce({"a": 1}, {"tasks"})
        self.assertEqual(sum(len(client.heard) for client in clients), 10)
        self.assertEqual(self.hub.rooms(), {"tasks": 10})

    def test_let_go(self) -> None:
        """The hub lets go of who has disconnected."""
        ann = Fake()
        self.hub.join(ann, "tasks")
        self.hub.disconnect(ann)
        ghost = weakref.ref(ann)
        del ann
        gc.collect()
        self.assertIsNone(ghost(), "somebody still refers to the client")
