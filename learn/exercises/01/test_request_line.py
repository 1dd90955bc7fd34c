"""Steps of the exercise request_line."""

import unittest

from request_line import parse_request_line

HINTS = [
    "split the line at spaces, or write a regular expression with one group per part",
    "str.partition('?') cuts at the first question mark only, and gives an empty string if there is none",
    "the query may hold a question mark; only the first one is the border",
    "catch too few and too many parts: split(' ') with an explicit space keeps empty parts, split() hides them",
    "check target.startswith('/')",
    "compare the version with 'HTTP/1.0' and 'HTTP/1.1'; re.fullmatch does all of these checks at once",
]


class RequestLine(unittest.TestCase):
    def test_plain(self) -> None:
        """A method and a path."""
        self.assertEqual(parse_request_line("GET /tasks HTTP/1.1"), ("GET", "/tasks", ""))

    def test_query(self) -> None:
        """The query is apart from the path."""
        self.assertEqual(parse_request_line("GET /tasks?limit=5 HTTP/1.1"), ("GET", "/tasks", "limit=5"))

    def test_question_marks(self) -> None:
        """Only the first question mark is the border."""
        self.assertEqual(parse_request_line("GET /find?q=why? HTTP/1.1"), ("GET", "/find", "q=why?"))

    def test_parts(self) -> None:
        """Three parts, one space between them."""
        for line in ("GET /tasks", "GET  /tasks HTTP/1.1", "GET /a b HTTP/1.1", " GET / HTTP/1.1", ""):
            with self.subTest(line), self.assertRaises(ValueError):
                parse_request_line(line)

    def test_path(self) -> None:
        """A path begins with a slash."""
        with self.assertRaises(ValueError):
            parse_request_line("GET tasks HTTP/1.1")

    def test_version(self) -> None:
        """Only HTTP/1.0 and HTTP/1.1."""
        self.assertEqual(parse_request_line("GET / HTTP/1.0"), ("GET", "/", ""))
        for version in ("HTTP/2.0", "HTTP/1.15", "http/1.1", "HTTPS/1.1"):
            with self.subTest(version), self.assertRaises(ValueError):
                parse_request_line(f"GET / {version}")
