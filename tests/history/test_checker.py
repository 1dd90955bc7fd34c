"""Each rule finds a violation that was put there by hand, says what shows it, and lets an orderly history pass."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import msgspec
import pytest

from tests.history.checker import RULES, check, count
from tests.history.events import (
    Answered,
    Began,
    CallbackCame,
    Called,
    Claimed,
    Delivery,
    Effect,
    Ended,
    Event,
    Final,
    Finished,
    History,
    Promises,
    Refused,
    Released,
    Stored,
    Tick,
    Unknown,
    in_order,
)

PROMISES = Promises(limits={"narrow": 1}, intervals_ms={"hourly": 1000}, effects={"book": 1})


class Story:
    """Builds a history event by event; each call is a moment later than the one before."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.places: dict[str, list[str]] = {}
        self.effects: list[Effect] = []
        self.ticks: list[Tick] = []
        self.deliveries: list[Delivery] = []
        self._moment = 0

    def submit(self, job: str, *, answer: bool = True, kind: str = "note", queue: str = "wide", **more: Any) -> None:
        op = f"op-{job}"
        self.add(Called, op=op, unique_key=more.get("unique_key"))
        self.add(Stored, tx=self._moment, job_id=job, kind=kind, queue=queue, op=op, **more)
        if answer:
            self.add(Answered, op=op, job_id=job)
        else:
            self.add(Unknown, op=op, why="cut")
        self.places[job] = ["ready"]

    def claim(self, job: str, attempt: int = 1, lease: str | None = None) -> str:
        lease = lease or f"{job}/{attempt}"
        self.add(Claimed, tx=self._moment, job_id=job, attempt=attempt, lease_id=lease)
        self.add(Began, job_id=job, attempt=attempt, lease_id=lease)
        return lease

    def take_back(self, job: str, attempt: int = 1) -> None:
        self.add(Released, tx=self._moment, job_id=job, attempt=attempt, lease_id=f"{job}/{attempt}")

    def end(self, job: str, attempt: int = 1, state: str = "completed", *, result_of: str | None = None) -> None:
        lease = f"{job}/{attempt}"
        self.add(Ended, job_id=job, attempt=attempt, lease_id=lease)
        tx = self._moment
        self.add(Released, tx=tx, job_id=job, attempt=attempt, lease_id=lease)
        self.add(Finished, tx=tx, job_id=job, attempt=attempt, state=state, lease_id=result_of or lease)
        self.places[job] = [state]

    def run(self, job: str, **more: Any) -> None:
        self.submit(job, **more)
        self.claim(job)
        self.end(job)

    def add(self, event: Callable[..., Event], /, **fields: Any) -> None:
        self._moment += 1
        if event in (Stored, Claimed, Released, Finished):
            fields["seq"] = self._moment
        self.events.append(event(at=float(self._moment), **fields))

    def history(self) -> History:
        final = Final(self.places, self.effects, self.ticks, self.deliveries)
        return History(in_order(self.events), final, PROMISES)


def orderly() -> Story:
    """A bit of everything that may happen, and nothing that must not."""
    story = Story()
    story.run("plain")
    story.run("unanswered", answer=False)
    story.add(Called, op="lost")  # its answer never came, and it was not stored
    story.add(Unknown, op="lost", why="cut")
    story.add(Called, op="bad")
    story.add(Refused, op="bad", why="422")

    story.submit("rescued")
    story.claim("rescued", 1)
    story.take_back("rescued", 1)
    story.claim("rescued", 2)
    story.add(Ended, job_id="rescued", attempt=1, lease_id="rescued/1")  # too late, and nobody took it
    story.end("rescued", 2)

    for job in ("first", "second"):
        story.run(job, queue="narrow", unique_key="k", unique_scope="until_finished")
    story.submit("cancelled")
    story.add(Finished, tx=story._moment, job_id="cancelled", attempt=0, state="cancelled")
    story.places["cancelled"] = ["cancelled"]

    story.run("booked", kind="book")
    story.effects.append(Effect("booked", 1, "booked/1"))
    story.run("told", has_callback=True)
    story.deliveries.append(Delivery("d", "told", "delivered"))
    for taken in (False, True):
        story.add(CallbackCame, message_id="msg_d", job_id="told", taken=taken)
    story.run("ticked", schedule_id="hourly", fire_at="1000")
    story.ticks += [Tick("hourly", 1000, "fired", "ticked"), Tick("hourly", 2000, "missed", missed_until_ms=3000)]
    story.ticks.append(Tick("hourly", 4000, "skipped"))
    return story


Seed: TypeAlias = Callable[[Story], object]


def lost(story: Story) -> None:
    story.run("j")
    del story.places["j"]


def never_ended(story: Story) -> None:
    story.submit("j")
    story.claim("j")
    story.places["j"] = ["lease"]


def ended_twice(story: Story) -> None:
    story.run("j")
    story.add(Finished, tx=0, job_id="j", attempt=1, state="failed")
    story.places["j"] = ["completed", "failed"]


def in_two_places(story: Story) -> None:
    story.run("j")
    story.places["j"] = ["completed", "ready"]


def stored_twice(story: Story) -> None:
    story.run("j")
    story.run("k")
    again = next(event for event in story.events if isinstance(event, Stored) and event.job_id == "k")
    story.events[story.events.index(again)] = Stored(
        at=again.at, seq=again.seq, tx=again.tx, job_id="k", kind="note", queue="wide", op="op-j"
    )


def refused_and_stored(story: Story) -> None:
    story.run("j", answer=False)
    story.events = [event for event in story.events if not (isinstance(event, Unknown) and event.op == "op-j")]
    story.add(Refused, op="op-j", why="422")


def answered_with_another(story: Story) -> None:
    story.run("j")
    story.add(Called, op="mine", unique_key="mine")
    story.add(Answered, op="mine", job_id="j")


def same_attempt_twice(story: Story) -> None:
    story.submit("j")
    story.claim("j", 1)
    story.take_back("j", 1)
    story.claim("j", 1, lease="another")
    story.add(Released, tx=9999, job_id="j", attempt=1, lease_id="another")
    story.add(Finished, tx=9999, job_id="j", attempt=1, state="failed")
    story.places["j"] = ["failed"]


def run_without_claim(story: Story) -> None:
    story.run("j")
    story.add(Began, job_id="j", attempt=2, lease_id="imagined")


def run_twice_in_a_lease(story: Story) -> None:
    story.submit("j")
    story.claim("j")
    story.add(Began, job_id="j", attempt=1, lease_id="j/1")
    story.end("j")


def two_holders(story: Story) -> None:
    story.submit("j")
    story.claim("j", 1)
    story.claim("j", 2)
    story.take_back("j", 1)
    story.end("j", 2)


def claimed_after_its_end(story: Story) -> None:
    story.run("j")
    story.claim("j", 2)
    story.take_back("j", 2)


def result_of_a_lost_claim(story: Story) -> None:
    story.submit("j")
    story.claim("j", 1)
    story.take_back("j", 1)
    story.claim("j", 2)
    story.end("j", 2, result_of="j/1")


def completed_by_nobody(story: Story) -> None:
    story.submit("j")
    story.claim("j", 1)
    story.take_back("j", 1)
    story.add(Finished, tx=0, job_id="j", attempt=1, state="completed")
    story.places["j"] = ["completed"]


def failed_while_another_holds_it(story: Story) -> None:
    story.submit("j")
    story.claim("j", 1)
    story.add(Finished, tx=0, job_id="j", attempt=0, state="failed")
    story.take_back("j", 1)
    story.places["j"] = ["failed"]


def over_the_limit(story: Story) -> None:
    for job in ("j", "k"):
        story.submit(job, queue="narrow")
        story.claim(job)
    for job in ("j", "k"):
        story.end(job)


def one_key_two_jobs(story: Story) -> None:
    for job in ("j", "k"):
        story.submit(job, unique_key="u", unique_scope="until_finished")
    for job in ("j", "k"):
        story.claim(job)
        story.end(job)


def one_key_two_waiting(story: Story) -> None:
    for job in ("j", "k"):
        story.submit(job, unique_key="u", unique_scope="until_claimed")
    for job in ("j", "k"):
        story.claim(job)
        story.end(job)


def one_instant_two_jobs(story: Story) -> None:
    story.run("j", schedule_id="hourly", fire_at="5000")
    story.run("k", schedule_id="hourly", fire_at="5000")
    story.ticks.append(Tick("hourly", 5000, "fired", "j"))


def an_instant_left_out(story: Story) -> None:
    story.run("j", schedule_id="hourly", fire_at="6000")
    story.ticks.append(Tick("hourly", 6000, "fired", "j"))


def fired_without_a_job(story: Story) -> None:
    story.ticks.append(Tick("hourly", 5000, "fired", "nobody"))


def two_effects(story: Story) -> None:
    story.run("j", kind="book")
    story.effects += [Effect("j", 1, "j/1"), Effect("j", 1, "j/1")]


def no_effect(story: Story) -> None:
    story.run("j", kind="book")


def effect_of_a_lost_attempt(story: Story) -> None:
    story.submit("j", kind="book")
    story.claim("j", 1)
    story.take_back("j", 1)
    story.claim("j", 2)
    story.end("j", 2)
    story.effects.append(Effect("j", 1, "j/1"))


def effect_of_a_failure(story: Story) -> None:
    story.submit("j", kind="book")
    story.claim("j", 1)
    story.end("j", 1, "failed")
    story.effects.append(Effect("j", 1, "j/1"))


def nobody_told(story: Story) -> None:
    story.run("j", has_callback=True)
    story.deliveries.append(Delivery("e", "j", "delivered"))


def no_delivery(story: Story) -> None:
    story.run("j", has_callback=True)


def told_under_two_ids(story: Story) -> None:
    story.run("j", has_callback=True)
    story.deliveries.append(Delivery("e", "j", "delivered"))
    for message in ("msg_e", "msg_f"):
        story.add(CallbackCame, message_id=message, job_id="j", taken=True)


SEEDS: list[tuple[str, Seed]] = [
    ("end", lost),
    ("end", never_ended),
    ("end", ended_twice),
    ("end", in_two_places),
    ("answer", stored_twice),
    ("answer", refused_and_stored),
    ("answer", answered_with_another),
    ("attempt", same_attempt_twice),
    ("attempt", run_without_claim),
    ("attempt", run_twice_in_a_lease),
    ("holder", two_holders),
    ("holder", claimed_after_its_end),
    ("fence", result_of_a_lost_claim),
    ("fence", completed_by_nobody),
    ("fence", failed_while_another_holds_it),
    ("limit", over_the_limit),
    ("unique", one_key_two_jobs),
    ("unique", one_key_two_waiting),
    ("tick", one_instant_two_jobs),
    ("tick", an_instant_left_out),
    ("tick", fired_without_a_job),
    ("effect", two_effects),
    ("effect", no_effect),
    ("effect", effect_of_a_lost_attempt),
    ("effect", effect_of_a_failure),
    ("callback", nobody_told),
    ("callback", no_delivery),
    ("callback", told_under_two_ids),
]
SUBJECTS = {"limit": "narrow", "unique": "key u", "tick": "hourly", "answer": "submit "}


def test_an_orderly_history_breaks_no_rule() -> None:
    history = orderly().history()
    assert check(history) == []
    counted = count(history)
    assert (counted["finished"], counted["unknown"], counted["returned in vain"]) == (9, 2, 1)


@pytest.mark.parametrize(("rule", "seed"), SEEDS, ids=[f"{rule}: {seed.__name__}" for rule, seed in SEEDS])
def test_a_violation_is_found_and_shown(rule: str, seed: Seed) -> None:
    story = orderly()
    seed(story)
    found = [violation for violation in check(story.history()) if violation.rule == rule]
    assert found, [str(violation) for violation in check(story.history())]
    assert SUBJECTS.get(rule, "job j") in found[0].subject
    assert found[0].shown, "nothing shows it"
    assert str(found[0]).startswith(f"{rule}: {found[0].subject} ")


def test_every_rule_has_its_violation() -> None:
    assert {rule for rule, _ in SEEDS} == {rule.__name__.removeprefix("_") for rule in RULES}


def test_an_unanswered_submit_may_be_stored_or_not_and_a_refused_one_may_not() -> None:
    """What the checker must not take for a violation, beside its twin that it must."""
    unknown = orderly()
    unknown.run("j", answer=False)
    assert check(unknown.history()) == []
    refused = orderly()
    refused_and_stored(refused)
    assert [violation.rule for violation in check(refused.history())] == ["answer"]


def test_a_clock_that_is_set_back_does_not_reorder_what_the_database_did() -> None:
    story = Story()
    story.run("j")
    moved = [
        replace_at(event, event.at - 100) if isinstance(event, (Finished, Released)) else event
        for event in story.events
    ]
    history = replace(story.history(), events=in_order(moved))
    assert check(history) == []
    changes = [event.seq for event in history.events if isinstance(event, (Stored, Claimed, Released, Finished))]
    assert changes == sorted(changes)


def replace_at(event: Any, at: float) -> Event:
    return msgspec.structs.replace(event, at=at)  # type: ignore[no-any-return]
