"""A request as handlers see it."""

import json
from functools import cached_property
from typing import NoReturn
from urllib.parse import parse_qs, unquote
from uuid import uuid4

from taskflow_learn.errors import Code, JSONValue, Refusal
from taskflow_learn.http.body import Body
from taskflow_learn.http.head import Head
from taskflow_learn.http.wire import Wire


class Request:
    """
    One request. The middleware fills in what it finds out: `role`, then `data`.

    Args:
        wire: the bytes that follow, for a handler that takes the connection over.
    """

    def __init__(self, head: Head, body: Body, wire: Wire) -> None:
        self.id = str(uuid4())
        self.method = head.method
        self.target = head.target
        self.headers = head.headers
        path, _, self._query_text = head.target.partition("?")
        self.path = unquote(path) if "%" in path else path
        self.params: dict[str, str] = {}  # from the route: `/tasks/:id` gives `id`
        self.role: str | None = None
        self.data: object = None
        self.body = body
        self.wire = wire

    @cached_property
    def query(self) -> dict[str, str]:
        """The query parameters; of a repeated one, the last."""
        return {name: values[-1] for name, values in parse_qs(self._query_text, keep_blank_values=True).items()}

    def query_int(self, name: str, default: int, low: int, high: int) -> int:
        """Return the parameter *name* as a number. Raise `Refusal`, naming it and its limits, if it is not one."""
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 18 and low <= int(text) <= high):
            message = f"{name} must be a whole number from {low} to {high}"
            raise Refusal(Code.VALIDATION_ERROR, message, {"field": name, "min": low, "max": high})
        return int(text)

    async def json(self) -> JSONValue:
        """Read the body as JSON."""
        data = await self.body.read()
        try:
            value: JSONValue = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:  # 10,000 opening brackets are legal JSON, and a stack overflow
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise Refusal(Code.INVALID_JSON, "the body is not valid JSON", {"parseError": reason}) from None
        return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")  # Python's own parser lets NaN and Infinity pass
