"""Steps of the exercise limited_pool."""

import asyncio
import unittest
from collections.abc import Awaitable, Callable

from limited_pool import Full, LimitedPool

HINTS = [
    "a queue of pairs (job, future); the workers take a pair, await the job, and set the future's result",
    "start *size* tasks in __aenter__, each a `while True` around queue.get()",
    "room is size + queue_limit jobs that have not ended; count those, and raise Full",
    "except Exception: future.set_exception(error), and go on",
    "in __aexit__: cancel the workers, wait for them, cancel each future that is not done",
    "done() before set_result: whoever waited may have cancelled the future meanwhile",
]


def job(result: object, seconds: float = 0.0) -> Callable[[], Awaitable[object]]:
    async def run() -> object:
        await asyncio.sleep(seconds)
        if isinstance(result, Exception):
            raise result
        return result

    return run


class Limited(unittest.IsolatedAsyncioTestCase):
    async def test_results(self) -> None:
        """Each future gets the result of its own job."""
        async with LimitedPool(2, 10) as pool:
            futures = [pool.submit(job(number, 0.01)) for number in range(8)]
            self.assertEqual(await asyncio.wait_for(asyncio.gather(*futures), 2), [*range(8)])

    async def test_size(self) -> None:
        """No more than *size* run at the same time, in order."""
        running, most, order = 0, 0, []

        def count(number: int) -> Callable[[], Awaitable[None]]:
            async def run() -> None:
                nonlocal running, most
                order.append(number)
                running += 1
                most = max(most, running)
                await asyncio.sleep(0.005)
                running -= 1

            return run

        async with LimitedPool(3, 50) as pool:
            await asyncio.wait_for(asyncio.gather(*[pool.submit(count(number)) for number in range(20)]), 2)
        self.assertEqual((most, order), (3, [*range(20)]))

    async def test_full(self) -> None:
        """One too many is refused at once, and there is room again later."""
        async with LimitedPool(2, 3) as pool:
            futures = [pool.submit(job(number, 0.02)) for number in range(5)]
            with self.assertRaises(Full):
                pool.submit(job("too many"))
            await asyncio.wait_for(asyncio.gather(*futures), 2)
            self.assertEqual(await asyncio.wait_for(pool.submit(job("again")), 2), "again")

    async def test_failure(self) -> None:
        """A job that raises fails alone; its worker goes on."""
        async with LimitedPool(1, 5) as pool:
            futures = [pool.submit(job(ValueError("no"))), pool.submit(job("yes"))]
            results = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 2)
        self.assertIsInstance(results[0], ValueError)
        self.assertEqual(results[1], "yes")

    async def test_end(self) -> None:
        """At the end nobody waits for ever, and nothing runs on."""
        async with LimitedPool(1, 5) as pool:
            futures = [pool.submit(job("slow", 30)), pool.submit(job("never"))]
            await asyncio.sleep(0.01)
        done, waiting = await asyncio.wait(futures, timeout=1)
        self.assertEqual(len(waiting), 0, "futures are still waiting")
        self.assertTrue(all(future.cancelled() for future in done))
        self.assertEqual(len(asyncio.all_tasks()), 1, "tasks are left; only the test itself should be")

    async def test_given_up(self) -> None:
        """A caller who gives up costs the worker nothing."""
        async with LimitedPool(1, 5) as pool:
            first, second = pool.submit(job(1, 0.02)), pool.submit(job(2))
            await asyncio.sleep(0.005)
            first.cancel()
            self.assertEqual(await asyncio.wait_for(second, 2), 2)
