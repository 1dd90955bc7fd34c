"""A fast writer and a slow reader. Without `drain` everything waits in our memory."""

import asyncio
import socket


async def read_slowly(end: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(end, 65_536):
        await asyncio.sleep(0.001)  # seconds


async def send(*, careful: bool) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    reading, most = asyncio.create_task(read_slowly(theirs)), 0
    _, writer = await asyncio.open_connection(sock=ours)
    for _ in range(100):
        writer.write(b"x" * 65_536)  # bytes; never waits
        most = max(most, writer.transport.get_write_buffer_size())
        await (writer.drain() if careful else asyncio.sleep(0))  # drain waits while too much is in the buffer
    writer.close(), await reading
    print(f"drain: {careful!s:5}  6.6 MB sent, at most {most / 1e6:4.1f} MB in our buffer")


asyncio.run(send(careful=False)), asyncio.run(send(careful=True))
