"""What `except:` catches besides errors: the request to stop."""

import asyncio


async def wait(kind: type[BaseException]) -> None:
    for _ in range(3):
        try:
            await asyncio.sleep(0.02)
        except kind:
            print("some error, going on")
    print("done, after all")


async def main() -> None:
    for kind in (BaseException, Exception):  # `except:` without a name means BaseException
        task = asyncio.create_task(wait(kind))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        print(f"except {kind.__name__}: was it cancelled? {task.cancelled()}")


asyncio.run(main())
