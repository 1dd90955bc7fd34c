"""A whole HTTP server on asyncio. It asks itself two questions on one connection, and stops."""

import asyncio


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    keep_alive = True
    while keep_alive:
        head = await reader.readuntil(b"\r\n\r\n")  # a buffer and a loop, as above
        keep_alive = b"connection: close" not in head.lower()
        status, body = ("200 OK", b'{"status":"ok"}') if b" /health " in head else ("404 Not Found", b"{}")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)  # in bytes
        await writer.drain()
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for path, connection in (("/health", "keep-alive"), ("/nowhere", "close")):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n".encode())
    print((await reader.read()).decode())  # until the server closes


asyncio.run(main())
