"""Add `GET /health`."""

import json


def answer(method: str, path: str, uptime_s: float) -> bytes:
    if path != "/health":
        return _encode("404 Not Found", {"error": f"there is nothing at {path}"})
    if method != "GET":
        return _encode("405 Method Not Allowed", {"error": f"{method} is not allowed here"}, "Allow: GET")
    return _encode("200 OK", {"status": "ok", "uptime": uptime_s})


def _encode(status: str, data: dict[str, object], *headers: str) -> bytes:
    body = json.dumps(data, ensure_ascii=False).encode()
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body
