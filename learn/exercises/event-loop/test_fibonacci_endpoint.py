"""Steps of the exercise fibonacci_endpoint."""

import asyncio
import time
import unittest
from collections.abc import Awaitable
from typing import Any

import fibonacci_endpoint
from fibonacci_endpoint import HIGHEST, Endpoint

HINTS = [
    "slow_fibonacci is right already",
    "check n before anything else; 0 and HIGHEST are allowed",
    "await asyncio.to_thread(slow_fibonacci, n)",
    "count those that run; += 1 before the await, -= 1 after it",
    "-= 1 in a `finally`",
    "a refusal must not wait: look at the counter before the first await",
]


async def worst_delay_s(work: Awaitable[Any]) -> float:
    """Tick every 5 ms while *work* runs; return the longest delay."""
    running, worst_s = asyncio.ensure_future(work), 0.0
    await asyncio.sleep(0)
    while not running.done():
        started = time.perf_counter()
        await asyncio.sleep(0.005)
        worst_s = max(worst_s, time.perf_counter() - started - 0.005)
    await running
    return worst_s


def nap(n: int) -> int:
    """Stands in for the computation: as long, but without using the processor."""
    time.sleep(0.15)
    if n == 13:
        raise ValueError("bad luck")
    return n


class FibonacciEndpoint(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        self.real = fibonacci_endpoint.slow_fibonacci

    def tearDown(self) -> None:
        fibonacci_endpoint.slow_fibonacci = self.real

    async def test_answer(self) -> None:
        """The answers are right."""
        endpoint = Endpoint(1)
        self.assertEqual(
            [await endpoint.answer(n) for n in (0, 1, 10, 15)], [(200, 0), (200, 1), (200, 55), (200, 610)]
        )

    async def test_bounds(self) -> None:
        """What would take for ever is refused."""
        fibonacci_endpoint.slow_fibonacci = lambda n: n
        endpoint = Endpoint(1)
        for n, status in ((-1, 422), (0, 200), (HIGHEST, 200), (HIGHEST + 1, 422), (1_000, 422)):
            with self.subTest(n=n):
                self.assertEqual((await endpoint.answer(n))[0], status)

    async def test_free(self) -> None:
        """The loop is free while it computes."""
        fibonacci_endpoint.slow_fibonacci = nap
        self.assertLess(await worst_delay_s(Endpoint(1).answer(5)), 0.1, "seconds the loop was not free")

    async def test_limit(self) -> None:
        """One too many is refused, the others run at the same time."""
        fibonacci_endpoint.slow_fibonacci = nap
        endpoint, started = Endpoint(3), time.perf_counter()
        answers = await asyncio.gather(*[endpoint.answer(n) for n in range(5)])
        self.assertEqual([status for status, _ in answers], [200, 200, 200, 503, 503])
        self.assertLess(time.perf_counter() - started, 0.42)

    async def test_again(self) -> None:
        """Afterwards there is room again, also after an error."""
        fibonacci_endpoint.slow_fibonacci = nap
        endpoint = Endpoint(1)
        with self.assertRaises(ValueError):
            await endpoint.answer(13)
        self.assertEqual(await endpoint.answer(3), (200, 3))

    async def test_at_once(self) -> None:
        """A refusal does not wait."""
        fibonacci_endpoint.slow_fibonacci = nap
        endpoint = Endpoint(1)
        running = asyncio.ensure_future(endpoint.answer(5))
        await asyncio.sleep(0.02)
        started = time.perf_counter()
        self.assertEqual(await endpoint.answer(6), (503, None))
        self.assertLess(time.perf_counter() - started, 0.1)
        await running
