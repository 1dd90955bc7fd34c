"""Which loop, which selector? uvloop is no part of Python; it is used where it is installed."""

import asyncio
import importlib.util
import selectors


async def main() -> None:
    loop = asyncio.get_running_loop()
    print("loop:", type(loop).__name__, "- debug:", loop.get_debug())
    print("asks the system by:", selectors.DefaultSelector.__name__)
    print("uvloop is installed:", importlib.util.find_spec("uvloop") is not None)


asyncio.run(main())
