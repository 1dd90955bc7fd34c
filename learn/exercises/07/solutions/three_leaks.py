"""Three leaks, fixed."""

from collections import OrderedDict, deque
from collections.abc import Callable

Listener = Callable[[str], object]

HISTORY_LIMIT = 100
PAGE_LIMIT = 50


class Service:
    def __init__(self) -> None:
        self._requests: deque[str] = deque(maxlen=HISTORY_LIMIT)
        self._pages: OrderedDict[str, bytes] = OrderedDict()
        self._listeners: dict[object, Listener] = {}
        self.rendered = 0  # how often the expensive part ran

    def handle(self, path: str) -> bytes:
        self._requests.append(path)
        for listener in tuple(self._listeners.values()):  # one that disconnects on the way changes the dict
            listener(path)
        return self.page_of(path)

    def recent(self) -> list[str]:
        return [*self._requests]

    def page_of(self, path: str) -> bytes:
        if path not in self._pages:
            self.rendered += 1
            self._pages[path] = path.encode() * 100
            if len(self._pages) > PAGE_LIMIT:
                self._pages.popitem(last=False)
        self._pages.move_to_end(path)
        return self._pages[path]

    def connect(self, listener: Listener) -> Callable[[], None]:
        key = object()  # the same listener may connect twice
        self._listeners[key] = listener

        def disconnect() -> None:
            self._listeners.pop(key, None)

        return disconnect
