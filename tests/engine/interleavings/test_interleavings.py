"""
Two or three operations at once, in every order of their statements: after each commit, and in the end, all is right.

Pairs are played in every order there is. Three operations have too many: some are played, by seeds, more of them by
`make test-interleavings`.
"""

from collections.abc import Iterator

import pytest
from tests.engine.interleavings.ground import Ground
from tests.engine.interleavings.orders import Order, Shuffled, every_order
from tests.engine.interleavings.play import patched, play, verdict
from tests.engine.interleavings.scenarios import PAIRS, TRIPLES, Scenario

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


def named(scenarios: list[Scenario]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scenario", scenarios, ids=[scenario.name for scenario in scenarios])


async def play_all(ground: Ground, scenario: Scenario, orders: Iterator[Order], test: str) -> int:
    played = 0
    with patched(scenario.patches):
        for order in orders:
            came_to, found = await play(ground, scenario, order)
            assert not found, verdict(test, order.word, came_to, found)
            played += 1
    return played


@named(PAIRS)
async def test_two_at_once_keep_every_promise_in_every_order(
    ground: Ground, scenario: Scenario, replayed: str | None, request: pytest.FixtureRequest
) -> None:
    orders = every_order() if replayed is None else iter([Order(replayed)])
    assert await play_all(ground, scenario, orders, f"'{request.node.nodeid}'") >= 1


@named(TRIPLES)
async def test_three_at_once_keep_every_promise_in_some_orders(
    ground: Ground, scenario: Scenario, replayed: str | None, request: pytest.FixtureRequest
) -> None:
    seeds = range(int(request.config.getoption("--orders")))
    orders = map(Shuffled, seeds) if replayed is None else iter([Order(replayed)])
    assert await play_all(ground, scenario, orders, f"'{request.node.nodeid}'") >= 1
