"""Steps of the exercise error_answers."""

import asyncio
import unittest
from typing import Any, NoReturn

from error_answers import Refusal, respond

HINTS = [
    "return 200 and what the handler returned",
    "catch Refusal first; STATUS[refusal.code] is the status, str(refusal) the message",
    "add details only if they are not None",
    "the caller of a bug gets fixed words; str(error) may hold a password, a path, a piece of SQL",
    "traceback.format_exc() inside the except block is the whole traceback as text",
    "`except Exception` catches errors; `except BaseException` also catches the request to stop",
]


def raiser(error: BaseException) -> Any:
    def handler() -> NoReturn:
        raise error

    return handler


class ErrorAnswers(unittest.TestCase):
    def setUp(self) -> None:
        self.log: list[str] = []

    def test_success(self) -> None:
        """What the handler returns is the answer."""
        self.assertEqual(respond(lambda: {"a": 1}, "r-1", self.log.append), (200, {"a": 1}))

    def test_refusal(self) -> None:
        """A refusal has the status of its code, and says what it says."""
        for code, status in (("VALIDATION_ERROR", 422), ("TASK_NOT_FOUND", 404), ("CONFLICT", 409)):
            with self.subTest(code=code):
                answer = respond(raiser(Refusal(code, "because")), "r-2", self.log.append)
                error = {"code": code, "message": "because", "requestId": "r-2"}
                self.assertEqual(answer, (status, {"error": error}))

    def test_details(self) -> None:
        """Details come along, if there are any."""
        _, body = respond(raiser(Refusal("CONFLICT", "no", {"cyclePath": ["a", "a"]})), "r-3", self.log.append)
        self.assertEqual(body["error"].get("details"), {"cyclePath": ["a", "a"]})

    def test_bug(self) -> None:
        """A bug is 500, and shows nothing of the inside."""
        status, body = respond(raiser(RuntimeError("password is swordfish")), "r-4", self.log.append)
        error = {"code": "INTERNAL_ERROR", "message": "Internal server error", "requestId": "r-4"}
        self.assertEqual((status, body), (500, {"error": error}))

    def test_logged(self) -> None:
        """A bug is in the log, once, with its id and its traceback; a refusal is not."""
        respond(raiser(Refusal("CONFLICT", "no")), "r-5", self.log.append)
        respond(raiser(ZeroDivisionError("by zero")), "r-6", self.log.append)
        self.assertEqual(len(self.log), 1)
        for part in ("r-6", "Traceback", "ZeroDivisionError", "in handler"):
            self.assertIn(part, self.log[0])

    def test_stop(self) -> None:
        """A request to stop passes through."""
        for stop in (KeyboardInterrupt(), asyncio.CancelledError(), SystemExit(0)):
            with self.subTest(stop=type(stop).__name__), self.assertRaises(type(stop)):
                respond(raiser(stop), "r-7", self.log.append)
