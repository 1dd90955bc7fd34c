"""Steps of the exercise safe_line."""

import json
import unittest
from datetime import UTC, datetime

from safe_line import format_line

HINTS = [
    "the example shows it: level, message, fields as JSON, one line break",
    "json.dumps does it for the fields; ' '.join(message.splitlines()) does it for the message",
    "build a new dict: the value, or '***' if name.lower() is in SECRET_NAMES",
    "re.sub with (?<=[?&]token=)[^&]* finds the value and leaves its name; mask before you cut",
    "json.dumps has an argument `default`: a function for what it does not know",
    "cut strings only, and only those over the limit",
    "do not change the caller's dict",
]


def fields_of(line: str) -> dict[str, object]:
    fields: dict[str, object] = json.loads(line[line.index("{") :])
    return fields


class SafeLine(unittest.TestCase):
    def test_plain(self) -> None:
        """A plain line looks as in the example."""
        self.assertEqual(
            format_line("INFO", "Request received", {"method": "GET"}), '[INFO] Request received {"method": "GET"}\n'
        )

    def test_forged(self) -> None:
        """Nobody can begin a second line."""
        line = format_line("INFO", "hello\r\n[INFO] forged", {"agent": "x\n[INFO] forged"})
        self.assertEqual(line.splitlines(), [line.rstrip("\n")])

    def test_secret(self) -> None:
        """Secrets are masked by name."""
        line = format_line("INFO", "m", {"Authorization": "Bearer abc", "PASSWORD": "abc", "tokens": 3})
        self.assertEqual(fields_of(line), {"Authorization": "***", "PASSWORD": "***", "tokens": 3})

    def test_url(self) -> None:
        """A token in a URL is masked, the rest stays."""
        for url, expected in (
            ("/ws?token=abc&x=1", "/ws?token=***&x=1"),
            ("/ws?x=1&token=abc", "/ws?x=1&token=***"),
            ("/ws?mytoken=abc", "/ws?mytoken=abc"),
            ("/tasks", "/tasks"),
        ):
            with self.subTest(url=url):
                self.assertEqual(fields_of(format_line("INFO", "m", {"url": url}))["url"], expected)

    def test_anything(self) -> None:
        """No value can make it fail."""
        when = datetime(2026, 1, 31, tzinfo=UTC)
        line = format_line("ERROR", "m", {"when": when, "error": ValueError("no"), "ids": {1}})
        self.assertEqual(fields_of(line), {"when": str(when), "error": "no", "ids": "{1}"})

    def test_cut(self) -> None:
        """Long values are cut."""
        line = format_line("INFO", "m", {"agent": "x" * 100_000, "short": "y" * 200, "number": 10**30})
        self.assertEqual(fields_of(line), {"agent": "x" * 200 + "...", "short": "y" * 200, "number": 10**30})

    def test_caller(self) -> None:
        """The caller's dict is as it was."""
        fields: dict[str, object] = {"token": "abc"}
        format_line("INFO", "m", fields)
        self.assertEqual(fields, {"token": "abc"})
