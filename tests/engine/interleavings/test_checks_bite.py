"""
The checks are checked: with a lock, a fence or a consequence taken out of a statement, an order is found that shows it.

Each case names the rule that has to speak. Where one defence stands behind another, both are taken away.
"""

from typing import Self

import pytest
from tests.engine.interleavings.crashes import CRASHED
from tests.engine.interleavings.failpoints import SteppedConnection
from tests.engine.interleavings.ground import Ground
from tests.engine.interleavings.orders import every_order
from tests.engine.interleavings.play import cut_off, patched, places_of, play
from tests.engine.interleavings.scenarios import NO_DUTY_LOCK, PAIRS

from taskflow.engine.store import jobs as job_statements

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

BY_NAME = {scenario.name: scenario for scenario in PAIRS}
IS_OPEN = "get_bit(h.open, g.position) = 1"
NOT_SKIPPED = ("take_due_schedules", "FOR UPDATE SKIP LOCKED", "")
LAST_COLUMN = "namespace, outcome, manual, job_id, detail, missed_until)"
DROP_ALL = """
    WITH gone AS (
        DELETE FROM taskflow.job WHERE id < taskflow.uuid_v7_floor($1::date + 1) AND $2::integer > 0 AND $3::bigint > 0
        RETURNING id
    )
    SELECT count(*)::integer FROM gone
"""

BROKEN: dict[str, tuple[str, str, list[tuple[str, str, str]]]] = {
    "an attempt is ended that was ended": (
        "place",
        "complete, hand back",
        [("complete", IS_OPEN, "true")],
    ),
    "a lease is read and not locked": (
        "place",
        "flush, flush: one lease",
        [("complete", "ORDER BY id FOR UPDATE", "ORDER BY id"), ("finish", "ORDER BY id FOR UPDATE", "ORDER BY id")],
    ),
    "a rescue returns what has ended": (
        "place",
        "complete, rescue",
        [("return_leases", "WHERE get_bit(gone.open, u.ord::integer - 1) = 1", "")],
    ),
    "an empty lease stays": (
        "lease",
        "complete, fold",
        [("complete", "l.id = rest.id AND bit_count(rest.open) = 0", "false"),
         ("complete", "l.id = rest.id AND bit_count(rest.open) > 0", "l.id = rest.id")],
    ),
    "an attempt leaves no trace": (
        "attempt",
        "retry, cancel",
        [("finish", "FROM won\n)\nSELECT g.lease_id", "FROM won WHERE false\n)\nSELECT g.lease_id")],
    ),
    "what ended is counted twice": (
        "count",
        "complete, rescue",
        [("complete", "coalesce(run, wait), count(*)", "coalesce(run, wait), 2 * count(*)")],
    ),
    "a claim keeps the key that it ends": (
        "unique",
        "claim, unique submit",
        [("claim", "WHERE t.holds_key AND", "WHERE false AND")],
    ),
    "claims do not take turns at a limit": (
        "limit",
        "claim, claim: limited",
        [("claim", "taskflow.queue_room(said.name, $2::text[], $3::integer)",
          "3 - (SELECT coalesce(sum(bit_count(l.open)), 0) FROM taskflow.lease l WHERE l.queue = said.name)")],
    ),
    "a claim waits for another one": (
        "progress",
        "claim, claim",
        [("claim", "FOR UPDATE SKIP LOCKED", "FOR UPDATE")],
    ),
    "a claim knows of no pause": (
        "pause",
        "claim, pause",
        [("claim", "q.paused_at IS NOT NULL OR", "")],
    ),
    "a retry knows of no cancel": (
        "answer",
        "retry, cancel",
        [("finish", "AND h.cancels ? g.position::text", "AND false")],
    ),
    "a cancel asks for what has ended": (
        "answer",
        "retry, cancel",
        [("request_cancel", "AND get_bit(l.open, array_position(l.job_ids, $1::uuid) - 1) = 1", "")],
    ),
    "a flush sent twice does not know itself": (
        "answer",
        "flush, flush again",
        [("find_settled", "d.job_id = g.job_id", "d.job_id IS NULL")],
    ),
    "a body that is needed is dropped": (
        "place",
        "claim, retention",
        [("thin_out_jobs", "SELECT taskflow.thin_out_jobs($1::date, $2::integer, $3::bigint)", DROP_ALL)],
    ),
    "two leaders fire, and nothing keeps them apart": (
        "tick",
        "fire, fire",
        [NO_DUTY_LOCK, NOT_SKIPPED, ("insert_ticks", LAST_COLUMN, f"{LAST_COLUMN} ON CONFLICT DO NOTHING")],
    ),
    "two leaders fire, and only the ledger keeps them apart": (
        "error",
        "fire, fire",
        [NO_DUTY_LOCK, NOT_SKIPPED],
    ),
    "a dead worker's leases are not found": (
        "end",
        "complete, rescue",
        [("find_orphan_leases", "LIMIT $1", "LIMIT 0 * $1")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "name", "patches"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_statement_is_found(
    ground: Ground, rule: str, name: str, patches: list[tuple[str, str, str]]
) -> None:
    scenario = BY_NAME[name]
    with patched(patches):
        for order in every_order():
            _, found = await play(ground, scenario, order)
            if any(fault.startswith(f"{rule}:") for fault in found):
                return
    pytest.fail(f"no order of {name} showed it")


class NoTransaction:
    """What is meant to happen together does not."""

    async def start(self) -> None: ...

    async def commit(self) -> None: ...

    async def rollback(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("name", "rule"),
    [("complete: consequences", "callback"), ("submit by COPY", "place")],
)
async def test_what_does_not_happen_together_is_found_by_a_crash(
    ground: Ground, name: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_statements, "MIN_ROWS", 4)
    crashed = next(crashed for crashed in CRASHED if crashed.name == name)
    whole, _, found = await cut_off(ground, crashed, None, again=False)
    assert not found
    monkeypatch.setattr(SteppedConnection, "transaction", lambda *_, **__: NoTransaction())
    apart, _, _ = await cut_off(ground, crashed, None, again=False)
    rules, halves = set(), 0
    for number in places_of(apart.passed, every=False):
        crash, _, found = await cut_off(ground, crashed, number, again=False)
        rules |= {fault.partition(":")[0] for fault in found}
        halves += crash.left.summary not in [state.summary for state in whole.seen]
    assert rule in rules
    assert halves > 0
