"""
Chain of Responsibility: Auth → Permission → Validation → handler.

Each link looks at one thing, and either refuses or proceeds. A handler at the end of the chain may rely on everything
that the links before it have checked, and so it holds no `if` about tokens or types.

The chain of a route is built once, when the route is registered; a request only walks it.
"""

from collections.abc import Awaitable, Callable, Sequence
from hmac import compare_digest

from taskflow_learn.config import Settings
from taskflow_learn.errors import Code, JSONValue, Refusal
from taskflow_learn.http.request import Request
from taskflow_learn.http.response import Response
from taskflow_learn.http.router import Handler
from taskflow_learn.log import Logger

Link = Callable[[Request, Handler], Awaitable[Response]]

ADMIN, USER = "admin", "user"
SAFE_METHODS = frozenset({"GET", "HEAD"})


class ChainRefusal(Refusal):
    """A 401 or 403 of the chain, whose body is only a sentence: `{"error": "Unauthorized: ..."}`."""


def compose(links: Sequence[Link], handler: Handler) -> Handler:
    """Return a handler that walks *links* from left to right and ends in *handler*."""
    for link in reversed(links):
        handler = _bind(link, handler)
    return handler


def _bind(link: Link, proceed: Handler) -> Handler:
    async def step(request: Request) -> Response:
        return await link(request, proceed)

    return step


class Authentication:
    """
    Who is it? Fills `request.role`.

    Args:
        from_query: also accept `?token=`, for browsers, which cannot add a header to a WebSocket or a link. It costs
            something: addresses end up in histories and logs, so ours leaves the token out of its log.
        open_without_tokens: let everybody in when no token is configured. For demos; never for tasks.
    """

    def __init__(
        self, settings: Settings, log: Logger, *, from_query: bool = False, open_without_tokens: bool = False
    ) -> None:
        self._tokens = [
            (token.encode(), role)
            for token, role in ((settings.admin_token, ADMIN), (settings.user_token, USER))
            if token
        ]
        self._log = log
        self._from_query = from_query
        self._is_open = open_without_tokens and not settings.has_tokens

    async def __call__(self, request: Request, proceed: Handler) -> Response:
        request.role = ADMIN if self._is_open else self._role_of(request)
        self._log.debug("Middleware passed", requestId=request.id, step="auth", role=request.role)
        return await proceed(request)

    def _role_of(self, request: Request) -> str:
        token = request.headers.get("authorization")
        if token is None and self._from_query:
            token = request.query.get("token")
        if not token:
            raise _unauthorized("Unauthorized: Missing Authorization header")
        scheme, _, credentials = token.partition(" ")
        given = (credentials.strip() if scheme.lower() == "bearer" else token).encode()
        for expected, role in self._tokens:
            if compare_digest(given, expected):  # `==` stops at the first difference, and so tells how much was right
                return role
        raise _unauthorized("Unauthorized: Invalid token")


class Permission:
    """May they? A user reads; an admin also changes."""

    def __init__(self, log: Logger) -> None:
        self._log = log

    async def __call__(self, request: Request, proceed: Handler) -> Response:
        if request.role != ADMIN and request.method not in SAFE_METHODS:
            raise ChainRefusal(
                Code.INSUFFICIENT_PERMISSIONS, "Forbidden: Insufficient role permissions for mutating actions"
            )
        self._log.debug("Middleware passed", requestId=request.id, step="permission")
        return await proceed(request)


class Validation:
    """Is it well-formed? Reads the body and puts what *check* makes of it into `request.data`."""

    def __init__(self, check: Callable[[JSONValue], object], log: Logger) -> None:
        self._check = check
        self._log = log

    async def __call__(self, request: Request, proceed: Handler) -> Response:
        request.data = self._check(await request.json())
        self._log.debug("Middleware passed", requestId=request.id, step="validation")
        return await proceed(request)


def _unauthorized(message: str) -> ChainRefusal:
    return ChainRefusal(Code.UNAUTHORIZED, message, headers=(("WWW-Authenticate", "Bearer"),))
