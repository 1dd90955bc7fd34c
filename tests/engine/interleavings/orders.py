"""
Runs operations side by side, one statement at a time, in an order that is chosen, and tries every order.

An operation stops before each of its statements until it is its turn. One that then waits for a lock of another (as
PostgreSQL says, not a clock) is left waiting, and the others run on; it goes on when the lock is free. So an order is a
word with a letter for each turn, and the same word runs the same way again.

Not every statement is a turn: what only concerns its own session, or what nobody else changes, is passed without a
stop, since it makes no difference what the others do before or after it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

from tests.engine.interleavings.failpoints import SteppedConnection

from taskflow.db.query import Connection

PRIVATE = frozenset(
    {
        *(
            "begin",
            "savepoint",
            "release savepoint",
            "limit_lock_wait",
            "reset_lock_wait",
        ),  # say something of the session
        *("find_kinds", "prune_ticks", "write_to_wal"),
        *("try_duty_lock", "find_job_body"),  # unless two leaders are at one duty, or a job is deleted
    }
)
BLOCKED = "SELECT pid FROM unnest($1::integer[]) AS asked(pid) WHERE cardinality(pg_blocking_pids(pid)) > 0"
ASK_S = 0.003  # a statement that takes longer may be waiting: PostgreSQL is asked
STUCK_S = 4.0


@dataclass(frozen=True)
class Turn:
    """One statement that was run; *waits* if it then stood behind somebody's lock."""

    letter: str
    name: str
    statement: str
    waits: bool = False

    def __str__(self) -> str:
        return f"{self.letter} {self.name}: {self.statement}{' … waits for a lock' if self.waits else ''}"


@dataclass(eq=False)
class Actor:
    """One operation on one connection."""

    letter: str
    name: str
    connection: SteppedConnection
    work: Coroutine[Any, Any, Any]
    moved: asyncio.Event
    private: frozenset[str]
    place: str | None = None  # the statement before which it stops
    task: asyncio.Task[Any] | None = None
    _turn: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_over(self) -> bool:
        return self.task is not None and self.task.done()

    @property
    def is_running(self) -> bool:
        return self.task is not None and self.place is None and not self.task.done()

    def start(self) -> None:
        self.connection.watch = self._watch
        self.task = asyncio.create_task(self.work, name=self.name)
        self.task.add_done_callback(lambda _: self.moved.set())

    def go(self) -> None:
        self.place = None
        self._turn.set()

    async def _watch(self, place: str) -> None:
        when, _, statement = place.partition(" ")
        if when == "after" or statement in self.private:
            return
        self.place = statement
        self.moved.set()
        await self._turn.wait()
        self._turn.clear()


class Order:
    """Chooses whose turn it is: by a *word*, and after its end always the first who can."""

    def __init__(self, word: str = "") -> None:
        self._word = word
        self.word = ""
        self.ready: list[str] = []  # at each turn, the letters of those who could

    def choose(self, ready: str) -> str:
        turn = len(self.word)
        letter = self._word[turn] if turn < len(self._word) else self._default(ready)
        assert letter in ready, f"order {self._word!r} cannot be run: at turn {turn} only {ready!r} can"
        self.word += letter
        self.ready.append(ready)
        return letter

    def _default(self, ready: str) -> str:
        return ready[0]

    @property
    def next_word(self) -> str | None:
        """How the next order begins that was not tried; None if this was the last."""
        for turn in reversed(range(len(self.word))):
            later = self.ready[turn].partition(self.word[turn])[2]
            if later:
                return self.word[:turn] + later[0]
        return None


class Shuffled(Order):
    """Chooses at random, by a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)

    def _default(self, ready: str) -> str:
        return self._random.choice(ready)


def every_order() -> Iterator[Order]:
    """Yield orders, each to be run before the next is asked for, until there is none that was not run."""
    word: str | None = ""
    while word is not None:
        order = Order(word)
        yield order
        word = order.next_word


class Stage:
    """
    Runs *works*, each named and on a connection of its own.

    Args:
        on_commit: called after each commit: what is in the tables now is there for all to see.
        private: statements that are no turns.
    """

    def __init__(
        self,
        works: Sequence[tuple[str, SteppedConnection, Coroutine[Any, Any, Any]]],
        observer: Connection,
        *,
        on_commit: Callable[[], Awaitable[None]],
        private: frozenset[str] = PRIVATE,
    ) -> None:
        self._observer = observer
        self._on_commit = on_commit
        self._moved = asyncio.Event()
        self._waiting: set[Actor] = set()  # who waited for a lock when PostgreSQL was asked last
        self.turns: list[Turn] = []
        self.actors = [
            Actor(letter, name, connection, work, self._moved, private)
            for letter, (name, connection, work) in zip(ascii_uppercase, works, strict=False)
        ]

    async def run(self, order: Order) -> list[Any]:
        """Return what each came to: its answer, or its exception."""
        by_letter = {actor.letter: actor for actor in self.actors}
        try:
            async with asyncio.timeout(STUCK_S):
                for actor in self.actors:
                    actor.start()
                    await self._settle()
                while not all(actor.is_over for actor in self.actors):
                    ready = "".join(actor.letter for actor in self.actors if actor.place is not None)
                    if ready:
                        await self._turn(by_letter[order.choose(ready)])
                    else:
                        self.turns.append(Turn("-", "all", "wait for each other, which PostgreSQL ends", waits=True))
                        self._moved.clear()
                        await self._moved.wait()
                        await self._settle()
        finally:
            for actor in self.actors:
                actor.connection.watch = None
                if actor.task is None:
                    actor.work.close()
                elif not actor.is_over:
                    actor.connection.terminate()
                    actor.task.cancel()
            results = await asyncio.gather(*(a.task for a in self.actors if a.task), return_exceptions=True)
        return results

    async def _turn(self, actor: Actor) -> None:
        statement = actor.place or ""
        actor.go()
        await self._settle()
        self.turns.append(Turn(actor.letter, actor.name, statement, waits=actor.is_running))
        if statement == "commit":
            await self._on_commit()

    async def _settle(self) -> None:
        """Wait until each stops, has ended, or waits for a lock that another one of them has."""
        while running := {actor for actor in self.actors if actor.is_running}:
            if not running <= self._waiting:
                self._moved.clear()
                try:
                    async with asyncio.timeout(ASK_S):
                        await self._moved.wait()
                    continue
                except TimeoutError:
                    running = {actor for actor in running if actor.is_running}
            rows = await self._observer.fetch(BLOCKED, [actor.connection.get_server_pid() for actor in running])
            blocked = {row["pid"] for row in rows}
            self._waiting = {actor for actor in running if actor.connection.get_server_pid() in blocked}
            if self._waiting == {actor for actor in self.actors if actor.is_running}:
                return
