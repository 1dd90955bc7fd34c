"""A client that sends a byte now and then holds a connection for ever, unless the head as a whole has a deadline."""

import asyncio
from time import perf_counter


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(1):  # seconds, for all of the head and not for each read
            await reader.readuntil(b"\r\n\r\n")
    except TimeoutError:
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    started, answer = perf_counter(), asyncio.create_task(reader.readline())
    while not answer.done():
        writer.write(b"x")
        await asyncio.sleep(0.05)
    print(await answer, f"after {perf_counter() - started:.0f} s")


asyncio.run(main())
