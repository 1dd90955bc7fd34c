"""An event loop of your own."""

import heapq
from collections import deque
from collections.abc import Callable, Generator
from itertools import count

Work = Generator[float, None, None]


class Loop:
    def __init__(self, now: Callable[[], float], wait: Callable[[float], object]) -> None:
        self._now = now
        self._wait = wait
        self._ready: deque[Work] = deque()
        self._sleeping: list[tuple[float, int, Work]] = []  # when, in which order, who
        self._numbers = count()
        self.errors: list[Exception] = []

    def spawn(self, work: Work) -> None:
        self._ready.append(work)

    def run(self) -> None:
        while self._ready or self._sleeping:
            if not self._ready:
                pause_s = self._sleeping[0][0] - self._now()
                if pause_s > 0:
                    self._wait(pause_s)
            self._wake()
            if self._ready:
                self._step(self._ready.popleft())

    def _wake(self) -> None:
        now = self._now()
        while self._sleeping and self._sleeping[0][0] <= now:
            self._ready.append(heapq.heappop(self._sleeping)[2])

    def _step(self, work: Work) -> None:
        try:
            pause_s = next(work)
        except StopIteration:
            return
        except Exception as error:
            self.errors.append(error)
            return
        if pause_s > 0:
            heapq.heappush(self._sleeping, (self._now() + pause_s, next(self._numbers), work))
        else:
            self._ready.append(work)
