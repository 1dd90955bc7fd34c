"""Somebody pulls the plug. TCP says nothing, so silence has to be noticed."""

import asyncio
import socket


async def main() -> None:
    ours, theirs = socket.socketpair()  # `theirs` stays open and never answers: a laptop that was closed
    reader, writer = await asyncio.open_connection(sock=ours)
    heard = asyncio.create_task(reader.read(1))
    for beat in range(1, 10):
        writer.write(b"\x89\x00")  # a ping
        await writer.drain()  # succeeds: the kernel has taken it, which is all that it says
        done, _ = await asyncio.wait([heard], timeout=0.1)  # seconds, until the next beat
        if not done:
            print(f"beat {beat}: no pong, the connection is dropped")
            break
    heard.cancel(), writer.close(), theirs.close()


asyncio.run(main())
