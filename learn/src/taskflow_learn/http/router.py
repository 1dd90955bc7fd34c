"""
Which function answers which path.

Literal paths are looked up in a dictionary first, so `/tasks/next` can never be mistaken for a task whose id is "next".
Only then come the patterns, grouped by their number of segments.
"""

from collections.abc import Awaitable, Callable

from taskflow_learn.errors import Code, Refusal
from taskflow_learn.http.request import Request
from taskflow_learn.http.response import Response

Handler = Callable[[Request], Awaitable[Response]]
Methods = dict[str, Handler]


class Router:
    """A table of routes. A segment that begins with a colon matches anything, and its value goes to the handler."""

    def __init__(self) -> None:
        self._literals: dict[str, Methods] = {}
        self._patterns: dict[int, list[tuple[list[str], Methods]]] = {}

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Register *handler*; one for GET also answers HEAD, whose body the connection leaves out."""
        methods = self._methods_of(path)
        methods[method] = handler
        if method == "GET":
            methods["HEAD"] = handler

    def find(self, request: Request) -> Handler:
        """Return the handler and fill `request.params`. Raise `Refusal` 404 or 405."""
        methods = self._match(request)
        if methods is None:
            raise Refusal(
                Code.NOT_FOUND, "Endpoint not found", {"method": request.method, "endpoint": request.path[:200]}
            )
        handler = methods.get(request.method)
        if handler is None:
            raise Refusal(
                Code.BAD_REQUEST,
                "Method not allowed",
                {"method": request.method, "endpoint": request.path[:200]},
                status=405,
                headers=(("Allow", ", ".join(sorted(methods))),),
            )
        return handler

    def _methods_of(self, path: str) -> Methods:
        if ":" not in path:
            return self._literals.setdefault(path, {})
        segments = path.split("/")
        patterns = self._patterns.setdefault(len(segments), [])
        for known, methods in patterns:
            if known == segments:
                return methods
        patterns.append((segments, {}))
        return patterns[-1][1]

    def _match(self, request: Request) -> Methods | None:
        methods = self._literals.get(request.path)
        if methods is not None:
            return methods
        segments = request.path.split("/")
        for pattern, candidates in self._patterns.get(len(segments), ()):
            if all(part == segment or part.startswith(":") for part, segment in zip(pattern, segments, strict=True)):
                pairs = zip(pattern, segments, strict=True)
                request.params = {part[1:]: segment for part, segment in pairs if part.startswith(":")}
                return candidates
        return None
