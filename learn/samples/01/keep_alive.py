"""What a new connection costs: the same 300 requests, each on its own connection, then all on one."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import perf_counter


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections open; the default, 1.0, does not

    def do_GET(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")


server = ThreadingHTTPServer(("127.0.0.1", 0), Hello)
threading.Thread(target=server.serve_forever, daemon=True).start()
for name, connections in (("one each", 300), ("one for all", 1)):
    started = perf_counter()
    for _ in range(connections):
        client = http.client.HTTPConnection(*server.server_address[:2])
        for _ in range(300 // connections):
            client.request("GET", "/")
            client.getresponse().read()
    print(f"{name:12} {(perf_counter() - started) / 300 * 1e6:6.0f} us per request")  # microseconds
