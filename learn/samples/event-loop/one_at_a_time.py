"""A server that waits for its client. The first one says nothing, and so the second one gets nothing."""

import socket
import threading
from time import perf_counter


def serve(listener: socket.socket) -> None:
    for _ in range(2):
        connection, _ = listener.accept()
        with connection:
            connection.sendall(connection.recv(100).upper())  # waits until this client says something


listener = socket.create_server(("127.0.0.1", 0))
thread = threading.Thread(target=serve, args=[listener])
thread.start()
silent = socket.create_connection(listener.getsockname())
eager = socket.create_connection(listener.getsockname())
started = perf_counter()
eager.sendall(b"hello")
threading.Timer(1, lambda: silent.sendall(b"at last")).start()  # seconds
print(eager.recv(100), f"after {perf_counter() - started:.0f} s, because somebody else was silent")
thread.join(), silent.close(), eager.close(), listener.close()
