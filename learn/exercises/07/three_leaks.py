"""
Three leaks. Find them and fix them.

A small service that runs for months. It works, all its answers are right, and it grows with every request. Keep what it
does and bound what it keeps:

- `recent()` returns the last requests, newest last. 100 are enough.
- `page_of(path)` caches what is expensive to render. Keep the 50 paths that were used last: who is used again stays.
- `connect(listener)` returns a function that ends the connection. After it was called, the service must not hold the
  listener any more. Calling it twice is fine.
"""

from collections.abc import Callable

Listener = Callable[[str], object]


class Service:
    def __init__(self) -> None:
        self._requests: list[str] = []
        self._pages: dict[str, bytes] = {}
        self._listeners: list[Listener] = []
        self.rendered = 0  # how often the expensive part ran

    def handle(self, path: str) -> bytes:
        self._requests.append(path)
        for listener in self._listeners:
            listener(path)
        return self.page_of(path)

    def recent(self) -> list[str]:
        return self._requests[-100:]

    def page_of(self, path: str) -> bytes:
        if path not in self._pages:
            self.rendered += 1
            self._pages[path] = path.encode() * 100
        return self._pages[path]

    def connect(self, listener: Listener) -> Callable[[], None]:
        self._listeners.append(listener)
        connected = True

        def disconnect() -> None:
            nonlocal connected
            connected = False

        return disconnect
