"""The other side of `drain`: while there is room it returns at once, and then nobody else runs."""

import asyncio


async def drain() -> None: ...  # for a fast reader there is room, so there is nothing to wait for


async def export(*, polite: bool) -> None:
    for _ in range(1_000):
        await drain()  # an `await`, and still no other task runs
        if polite:
            await asyncio.sleep(0)  # this one gives every other task a turn


async def main() -> None:
    for polite in (False, True):
        turns, exporting = 0, asyncio.create_task(export(polite=polite))
        while not exporting.done():
            await asyncio.sleep(0)
            turns += 1
        print(f"polite: {polite!s:5}  others had {turns} turns")


asyncio.run(main())
