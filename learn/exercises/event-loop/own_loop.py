"""
An event loop of your own.

    loop = Loop(now, wait)       now() gives seconds; wait(seconds) lets time pass. Tests pass a clock of their own.
    loop.spawn(work)             work is a generator; it has not begun
    loop.run()                   until nobody is left

What a piece of work yields says when it wants to go on:

    yield 0          at the end of the line: everybody else who can go on has a turn first
    yield 2.5        in 2.5 seconds, and not before
    a return, or an exception: it has ended. `run` goes on with the others, and `loop.errors` keeps the exception.

Rules: those who can go on do so in the order in which they came. Of the sleeping, who wakes first goes first. At the
same time, who went to sleep first goes first. If nobody can go on, `wait` is called, with exactly the time until the
first wakes. If somebody sleeps whose time has come, they join the end of the line, also while others are in it.
"""

from collections.abc import Callable, Generator

Work = Generator[float, None, None]


class Loop:
    def __init__(self, now: Callable[[], float], wait: Callable[[float], object]) -> None:
        self._now = now
        self._wait = wait
        self._work: list[Work] = []
        self.errors: list[Exception] = []

    def spawn(self, work: Work) -> None:
        self._work.append(work)

    def run(self) -> None:
        """One after the other, and each of them to its end: this is no loop yet."""
        for work in self._work:
            for pause_s in work:
                self._wait(pause_s)
