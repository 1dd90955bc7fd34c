"""In which order do these lines appear? Write it down before you run it."""

import asyncio


async def task(name: str) -> None:
    print(name, "begins")
    await asyncio.sleep(0)
    print(name, "ends")


async def main() -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(0.02, print, "later")
    loop.call_soon(print, "soon")
    first = asyncio.create_task(task("first"))  # put into the line; has not begun
    print("main goes on")
    await task("direct")  # no new task: it runs here and now
    await first
    await asyncio.sleep(0.04)


asyncio.run(main())
