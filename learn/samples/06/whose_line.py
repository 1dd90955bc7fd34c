"""Two requests at once write into one log. With an id in each line, the mixture can be taken apart again."""

import asyncio
from contextvars import ContextVar

current: ContextVar[str] = ContextVar("request_id")  # each task of asyncio has its own value
shared = ""  # ... and all of them have this one


async def handle(request_id: str) -> None:
    global shared
    shared = request_id
    current.set(request_id)
    for step in ("auth", "validation", "stored"):
        print(f"{step:10}  global: {shared}  context: {current.get()}  argument: {request_id}")
        await asyncio.sleep(0)  # here the other request runs


async def main() -> None:
    await asyncio.gather(handle("one"), handle("two"))


asyncio.run(main())
