"""A server that takes one read for one request. It works on your desk, and fails on a real network."""

import socket


def serve_once(connection: socket.socket) -> str:
    head = connection.recv(65_536).decode()  # "up to 65,536 bytes", not "one request"
    method, target, _version = head.split("\r\n")[0].split(" ")
    return f"{method} {target} is understood"


def try_it(*pieces: bytes) -> None:
    client, server = socket.socketpair()  # two ends of one connection, as TCP would give us
    with client, server:
        client.sendall(pieces[0])  # the rest is still on its way
        try:
            print(len(pieces), "piece(s):", serve_once(server))
        except ValueError as error:
            print(len(pieces), "piece(s): broken,", error)


try_it(b"GET /tasks HTTP/1.1\r\nHost: me\r\n\r\n")
try_it(b"GET /ta", b"sks HTTP/1.1\r\nHost: me\r\n\r\n")
