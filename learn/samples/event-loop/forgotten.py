"""Three ways to start something and not to hear of its end."""

import asyncio
import warnings


async def work(name: str) -> None:
    raise ValueError(f"{name} failed")


async def main() -> None:
    with warnings.catch_warnings(record=True) as caught:
        work("first")  # no await: a coroutine was made, and thrown away
        print("1.", caught[0].message)
    task = asyncio.create_task(work("second"))
    await asyncio.sleep(0.01)
    print("2. done:", task.done(), "- and nobody has noticed:", repr(task.exception()))
    try:
        async with asyncio.TaskGroup() as group:  # waits for all of them, and lets no error get lost
            group.create_task(work("third"))
    except* ValueError as group_error:
        print("3. the group says:", *group_error.exceptions)


asyncio.run(main())
