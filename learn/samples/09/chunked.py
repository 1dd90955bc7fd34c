"""A body whose length nobody knows yet: each piece says how long it is, and an empty one says that it was the last."""

import http.client
import socket
from collections.abc import Iterator


def chunks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        if piece:  # an empty one would be the end
            yield b"%x\r\n%b\r\n" % (len(piece), piece)  # the length is in hexadecimal
    yield b"0\r\n\r\n"


body = b"".join(chunks(iter([b"id,title\n", b"", b"1,write a long title\n"])))
print(body)
client, server = socket.socketpair()
server.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
response = http.client.HTTPResponse(client)  # what every client does with it
response.begin()
print(response.read())
response.close(), client.close(), server.close()
