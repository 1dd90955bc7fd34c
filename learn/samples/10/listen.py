"""Listen to a running server: listen.py host:port/path COUNT. Prints so many messages, says goodbye, and ends."""

import base64
import os
import socket
import struct
import sys

place, _, path = (sys.argv[1:] or ["localhost:3000/ws/tasks"])[0].partition("/")
key = base64.b64encode(os.urandom(16)).decode()
head = f"GET /{path} HTTP/1.1\r\nHost: {place}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
head += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nAuthorization: Bearer secret-admin-123\r\n\r\n"
with socket.create_connection((place.partition(":")[0], int(place.partition(":")[2])), timeout=5) as connection:
    connection.sendall(head.encode())
    stream = connection.makefile("rb")
    while (line := stream.readline().decode().strip()) != "":
        print(line)
    for _ in range(int((sys.argv[2:] or ["3"])[0])):
        if len(start := stream.read(2)) < 2:  # a server's frames are not masked
            sys.exit("the server has hung up")
        length = start[1]
        if length == 126:
            (length,) = struct.unpack(">H", stream.read(2))
        print(stream.read(length).decode(), flush=True)
    connection.sendall(b"\x88\x82" + bytes(4) + struct.pack(">H", 1000))  # close; a mask of zeros is a mask
