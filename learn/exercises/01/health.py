r"""
Add `GET /health`: the address that a load balancer asks every few seconds to hear whether a server lives.

`answer` gets the method, the path and the number of seconds since the start. It returns a complete HTTP/1.1 answer in
bytes: status line, headers, an empty line, body.

    GET /health      200, JSON {"status": "ok", "uptime": seconds}
    other methods    405, with the header `Allow: GET`
    other paths      404, JSON {"error": ...}

Every answer has a Content-Length, counted in bytes and not in characters, and a Content-Type where there is JSON.
"""


def answer(method: str, path: str, uptime_s: float) -> bytes:
    raise NotImplementedError("write the answer to GET /health first")
