"""Servers of other people, for pages that call them: a calendar that changes, a receiver of callbacks."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CALENDAR = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//shop//holidays//EN\r\n{}END:VCALENDAR\r\n"
EVENT = (
    "BEGIN:VEVENT\r\nUID:{number}@calendar.example\r\nDTSTAMP:20260101T000000Z\r\n"
    "DTSTART;VALUE=DATE:202612{number:02}\r\nSUMMARY:{summary}\r\nEND:VEVENT\r\n"
)


@dataclass(slots=True)
class Outsider:
    """What it answers to GET, and what it was sent."""

    url: str = ""
    etag: str = ""
    content: str = ""
    came: list[tuple[str, str, Mapping[str, str], bytes]] = field(default_factory=list)

    def show_holidays(self, summaries: list[str], *, etag: str) -> None:
        events = [EVENT.format(number=number, summary=summary) for number, summary in enumerate(summaries, 1)]
        self.content, self.etag = CALENDAR.format("".join(events)), f'"{etag}"'


@contextmanager
def outside() -> Iterator[Outsider]:
    """Serve on loopback meanwhile."""
    outsider = Outsider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("If-None-Match") == outsider.etag:
                self.send_response(304)
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/calendar")
            self.send_header("ETag", outsider.etag)
            self.send_header("Content-Length", str(len(outsider.content)))
            self.end_headers()
            self.wfile.write(outsider.content.encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            outsider.came.append((self.command, self.path, headers, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_words: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        outsider.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield outsider
        finally:
            server.shutdown()
            thread.join()
