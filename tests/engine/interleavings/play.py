"""Plays a scenario in one order, or cuts an operation off at one place, and says what was wrong."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest
from tests.engine.interleavings import failpoints
from tests.engine.interleavings.crashes import Crashed
from tests.engine.interleavings.failpoints import AFTER_COMMIT, Crash
from tests.engine.interleavings.ground import Ground, Operation
from tests.engine.interleavings.orders import PRIVATE, Order, Stage
from tests.engine.interleavings.scenarios import Played, Scenario
from tests.engine.interleavings.state import State, faults, final_faults

from taskflow.db.pool import OUTAGE_ERRORS
from taskflow.engine.store.base import QUERIES

REPLAY = 'play it again: make test-product ARGS="{test} --order={word}"'


async def play(ground: Ground, scenario: Scenario, order: Order) -> tuple[Played, list[str]]:
    """Run the operations of *scenario* in that order, let everything end, and return what was wrong."""
    await ground.clear()
    operations = await scenario.arrange(ground)
    found: list[str] = []

    async def look() -> None:
        found.extend(faults(await ground.look()))

    async def look_away() -> None:
        """Somebody locks a table: to look would be to wait."""

    works = [
        (operation.name, hand, operation.run(ground.serve(hand)))
        for operation, hand in zip(operations, ground.hands, strict=False)
    ]
    stage = Stage(
        works,
        ground.observer,
        on_commit=look if scenario.is_open else look_away,
        private=PRIVATE - scenario.shared,
    )
    answers = await stage.run(order)
    if not scenario.is_open:
        await look()
    try:
        final = await ground.end_everything()
    except Exception as error:  # noqa: BLE001 -- whatever the product raises is what is wrong
        found.append(f"error: the end of everything came to {error!r}")
        final = await ground.look()
    found.extend(final_faults(final))
    played = Played(stage.turns, answers, final)
    for operation, answer in zip(operations, answers, strict=True):
        found.extend(broken(operation, answer, played))
    found.extend(scenario.judge(played))
    return played, list(dict.fromkeys(found))


def broken(operation: Operation, answer: object, played: Played) -> Iterator[str]:
    """What an operation was told, or that it was told nothing."""
    if isinstance(answer, BaseException) and not isinstance(answer, operation.allowed):
        yield f"error: {operation.name} came to {answer!r}"
    else:
        yield from operation.promise(answer, played.final)
    if operation.name == "claim" and played.given_out():
        seen = [(claim.job_id, claim.attempt) for claim in played.given_out()]
        if len(seen) != len(set(seen)):
            yield f"holder: an attempt was given out twice: {seen}"


def verdict(test: str, word: str, played: Played, found: Sequence[str]) -> str:
    return "\n".join(
        (
            f"order {word} is wrong:",
            *(f"  {fault}" for fault in found),
            "what happened:",
            *(f"  {turn}" for turn in played.turns),
            REPLAY.format(test=test, word=word),
        )
    )


async def cut_off(
    ground: Ground, crashed: Crashed, number: int | None, *, again: bool
) -> tuple[Crash, State, list[str]]:
    """Cut the operation off there, let everything end, and return what was wrong."""
    await ground.clear()
    operation = await crashed.arrange(ground)
    victim = ground.hands[0] if number is None else await failpoints.connect(ground.url)
    crash = Crash(victim, ground.observer, ground.look, number)
    await crash.begin()
    answer = None
    try:
        answer = await operation.run(ground.serve(victim, ground.hands[1]))
        is_answered = True
    except (*OUTAGE_ERRORS, *operation.allowed):
        is_answered = False
    finally:
        victim.watch = None
    found = [] if crash.left is None else faults(crash.left)
    if again and not is_answered:
        with suppress(*operation.allowed):
            answer, is_answered = await operation.run(ground.serve(ground.hands[1])), True
    before_the_end = await ground.look()
    final = await ground.end_everything()
    found += [*faults(before_the_end), *final_faults(final)]
    if is_answered:
        found += operation.promise(answer, final)
    return crash, before_the_end, found


def places_of(passed: list[str], *, every: bool) -> Iterator[int]:
    """
    Numbers of the places to be cut off at.

    Unless *every* is asked for, not those that look like the one before: between the end of a statement and the next
    one nothing happens, and what only concerns the session leaves nothing.
    """
    for number, place in enumerate(passed):
        when, _, statement = place.partition(" ")
        if every or place == AFTER_COMMIT or (when == "before" and statement not in PRIVATE):
            yield number


@contextmanager
def patched(patches: Sequence[tuple[str, str, str]]) -> Iterator[None]:
    """Change the text of statements: of each the name, what is replaced, and by what."""
    with pytest.MonkeyPatch.context() as patch:
        for name, old, new in patches:
            query = QUERIES[name]
            assert query.sql.count(old) == 1, f"{old!r} is not once in {name}"
            patch.setattr(query, "sql", query.sql.replace(old, new))
        yield
