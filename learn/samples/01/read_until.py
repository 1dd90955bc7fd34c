"""Keep a buffer; take from it what was asked for; leave the rest for the next question."""

import socket


class Wire:
    def __init__(self, connection: socket.socket) -> None:
        self.connection, self.buffer = connection, b""

    def until(self, separator: bytes, limit: int = 16_384) -> bytes:
        while separator not in self.buffer:
            if len(self.buffer) > limit:
                raise ValueError(f"no end of the head within {limit} bytes")
            self.buffer += self.connection.recv(10)  # 10 bytes at a time, to show that it does not matter
        head, _, self.buffer = self.buffer.partition(separator)
        return head


client, server = socket.socketpair()
wire = Wire(server)
client.sendall(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")  # two at once
print(wire.until(b"\r\n\r\n"), "then", len(wire.buffer), "bytes wait")
print(wire.until(b"\r\n\r\n"), "then", len(wire.buffer), "bytes wait")
client.close(), server.close()
