"""One thread, many sockets: ask the system which of them have something, and look only at those."""

import selectors
import socket

selector = selectors.DefaultSelector()
clients = {}
for name in ("ann", "bob", "eve"):
    client, server = socket.socketpair()
    server.setblocking(False)  # a read that would have to wait raises an error instead
    selector.register(server, selectors.EVENT_READ, data=name)
    clients[name] = client

clients["bob"].sendall(b"hello")
clients["eve"].sendall(b"hi")
for turn in range(2):
    ready = selector.select(timeout=0.05)  # seconds; the only place where this program waits
    print(f"turn {turn}:", sorted((key.data, key.fileobj.recv(100)) for key, _ in ready))
    clients["ann"].sendall(b"at last")
[key.fileobj.close() for key in selector.get_map().values()], [client.close() for client in clients.values()]
