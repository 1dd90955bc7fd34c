"""Ask a running server in plain bytes: ask.py METHOD host:port/path [JSON]. TOKEN in the environment says who asks."""

import os
import socket
import sys

method, target, *body = sys.argv[1:] or ["GET", "localhost:3000/health"]
place, _, path = target.partition("/")
host, _, port = place.partition(":")
data = "".join(body).encode()
lines = [
    f"{method} /{path} HTTP/1.1",
    f"Host: {place}",
    f"Authorization: Bearer {os.environ.get('TOKEN', 'secret-admin-123')}",
    f"Content-Length: {len(data)}",  # bytes, not characters
    "Connection: close",
]
with socket.create_connection((host, int(port)), timeout=5) as connection:
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + data)
    with connection.makefile("rb") as stream:
        sys.stdout.write(stream.read().decode() + "\n")  # until the server closes
