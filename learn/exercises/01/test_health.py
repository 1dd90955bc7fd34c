"""Steps of the exercise health."""

import json
import unittest

from health import answer

HINTS = [
    "begin with b'HTTP/1.1 200 OK\\r\\n'; every line ends in \\r\\n, and an empty line ends the head",
    "json.dumps({...}).encode() is the body",
    "Content-Length is len() of the encoded body",
    "look at the path first: everything but /health is 404",
    "a known path with a method that it does not take is 405, and Allow names those that it takes",
    "encode the body before you count it: one character can be several bytes",
]


def split(data: bytes) -> tuple[str, dict[str, str], bytes]:
    head, separator, body = data.partition(b"\r\n\r\n")
    assert separator, "the head must end with an empty line"
    status, *lines = head.decode().split("\r\n")
    return status, {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}, body


class Health(unittest.TestCase):
    def test_status(self) -> None:
        """GET /health is answered with 200."""
        self.assertEqual(split(answer("GET", "/health", 1.5))[0], "HTTP/1.1 200 OK")

    def test_json(self) -> None:
        """The body is JSON with status and uptime."""
        _, headers, body = split(answer("GET", "/health", 1.5))
        self.assertEqual(json.loads(body), {"status": "ok", "uptime": 1.5})
        self.assertTrue(headers.get("content-type", "").startswith("application/json"), headers)

    def test_length(self) -> None:
        """Content-Length counts the body."""
        _, headers, body = split(answer("GET", "/health", 123.456))
        self.assertEqual(headers.get("content-length"), str(len(body)))

    def test_unknown_path(self) -> None:
        """Another path is 404."""
        status, headers, body = split(answer("GET", "/wealth", 1))
        self.assertTrue(status.startswith("HTTP/1.1 404 "), status)
        self.assertIn("error", json.loads(body))
        self.assertEqual(headers.get("content-length"), str(len(body)))

    def test_method(self) -> None:
        """Another method is 405, and says which is allowed."""
        status, headers, body = split(answer("DELETE", "/health", 1))
        self.assertTrue(status.startswith("HTTP/1.1 405 "), status)
        self.assertEqual(headers.get("allow"), "GET")
        self.assertEqual(headers.get("content-length"), str(len(body)))

    def test_bytes(self) -> None:
        """The length counts bytes, not characters."""
        _, headers, body = split(answer("GET", "/größe", 1))
        self.assertEqual(headers.get("content-length"), str(len(body)))
