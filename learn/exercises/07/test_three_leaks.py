"""Steps of the exercise three_leaks."""

import gc
import tracemalloc
import unittest
import weakref

from three_leaks import Service

HINTS = [
    "whatever you change, the newest requests come last",
    "collections.deque(maxlen=...) drops its oldest entry by itself",
    "an OrderedDict: popitem(last=False) throws out the first entry",
    "move_to_end(path) at every use, and what is first was used longest ago",
    "disconnect has to take the listener out; a dict from a key of its own to the listener makes that easy",
    "the closure `disconnect` itself must not refer to the listener either: give it the key only",
    "pop(key, None) does nothing the second time; the same listener connected twice is two connections",
    "every structure of the service needs its bound",
]


class Ear:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def __call__(self, path: str) -> None:
        self.heard.append(path)


class ThreeLeaks(unittest.TestCase):
    def test_recent(self) -> None:
        """The last 100 requests, newest last."""
        service = Service()
        for number in range(150):
            service.handle(f"/{number}")
        self.assertEqual(list(service.recent()), [f"/{number}" for number in range(50, 150)])

    def test_history(self) -> None:
        """The history does not grow."""
        service = Service()
        tracemalloc.start()
        for number in range(20_000):
            service.handle(f"/{number % 10}" + "?" * 10)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        self.assertLess(held, 50_000, "bytes are held after 20,000 requests of ten paths")

    def test_pages(self) -> None:
        """The cache keeps no more than 50 pages."""
        service = Service()
        tracemalloc.start()
        for number in range(2_000):
            service.page_of(f"/{number}")
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        self.assertLess(held, 200_000, "bytes are held after 2,000 paths")
        for number in range(1_950, 2_000):
            service.page_of(f"/{number}")
        self.assertEqual(service.rendered, 2_000, "the last 50 must still be there")

    def test_used_again(self) -> None:
        """What is used again stays."""
        service = Service()
        service.page_of("/home")
        for number in range(500):
            service.page_of(f"/{number}")
            self.assertEqual(service.page_of("/home"), b"/home" * 100)
        self.assertEqual(service.rendered, 501)

    def test_disconnect(self) -> None:
        """Who has disconnected hears nothing more."""
        service, ear, other = Service(), Ear(), Ear()
        disconnect = service.connect(ear)
        service.connect(other)
        service.handle("/1")
        disconnect()
        service.handle("/2")
        self.assertEqual((ear.heard, other.heard), (["/1"], ["/1", "/2"]))

    def test_let_go(self) -> None:
        """The service lets go of a listener that has disconnected."""
        service, ear = Service(), Ear()
        disconnect = service.connect(ear)
        disconnect()
        ghost = weakref.ref(ear)
        del ear
        gc.collect()
        self.assertIsNone(ghost(), "somebody still refers to it")

    def test_twice(self) -> None:
        """Disconnecting twice is fine, and ends one connection only."""
        service, ear = Service(), Ear()
        first, _second = service.connect(ear), service.connect(ear)
        first()
        first()
        service.handle("/1")
        self.assertEqual(ear.heard, ["/1"])

    def test_flat(self) -> None:
        """A thousand strangers later it is no larger."""
        service = Service()
        tracemalloc.start()
        for number in range(1_000):
            disconnect = service.connect(Ear())
            service.handle(f"/{number}")
            disconnect()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        self.assertLess(held, 200_000, "bytes are held")
