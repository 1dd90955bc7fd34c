"""Whoever walks over a dict must not change its size, and may not wait while others do."""

import asyncio

tasks = {number: f"task {number}" for number in range(3)}


async def export(what: str) -> None:
    try:
        for row in tasks.values() if what == "the dict" else [*tasks.values()]:  # references, 8 bytes each
            print(what, "->", row)
            await asyncio.sleep(0)  # a slow client: here others run
    except RuntimeError as error:
        print(what, "-> broken:", error)


async def main() -> None:
    for what in ("the dict", "a copy"):
        running = asyncio.create_task(export(what))
        await asyncio.sleep(0)
        tasks[len(tasks)] = "one more"
        await running


asyncio.run(main())
