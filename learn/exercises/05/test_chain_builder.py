"""Steps of the exercise chain_builder."""

import unittest

from chain_builder import Handler, Link, compose

HINTS = [
    "without links, compose returns the handler itself",
    "`handler` is looked up when the lambda runs: then it is the lambda itself. Bind both, as functools.partial does",
    "begin with the last link: it must know the handler, the link before it must know that one",
    "a link that does not call proceed ends the chain; compose need not do anything for it",
    "what proceed returns passes through all links that called it, from the inside to the outside",
    "do not change the links: build new functions, so that two chains can share them",
]


def letter(name: str) -> Link:
    def link(request: str, proceed: Handler) -> str:
        return f"{name}({proceed(request + name)})"

    return link


def refuse(request: str, proceed: Handler) -> str:
    return f"no to {request}"


def echo(request: str) -> str:
    return f"<{request}>"


class Chain(unittest.TestCase):
    def test_empty(self) -> None:
        """No links: just the handler."""
        self.assertEqual(compose([], echo)("q"), "<q>")

    def test_one(self) -> None:
        """One link stands around the handler."""
        self.assertEqual(compose([letter("a")], echo)("q"), "a(<qa>)")

    def test_order(self) -> None:
        """The first link sees the request first."""
        self.assertEqual(compose([letter("a"), letter("b"), letter("c")], echo)("q"), "a(b(c(<qabc>)))")

    def test_refuse(self) -> None:
        """A link that does not proceed ends the chain."""
        self.assertEqual(compose([letter("a"), refuse, letter("c")], echo)("q"), "a(no to qa)")

    def test_errors(self) -> None:
        """An error of the handler passes through all links."""

        def broken(request: str) -> str:
            raise LookupError(request)

        with self.assertRaises(LookupError):
            compose([letter("a"), letter("b")], broken)("q")

    def test_shared(self) -> None:
        """Two chains may share their links, and a chain may be used twice."""
        links = [letter("a"), letter("b")]
        one, two = compose(links, echo), compose([*links, refuse], echo)
        self.assertEqual([one("q"), two("q"), one("r")], ["a(b(<qab>))", "a(b(no to qab))", "a(b(<rab>))"])
