"""A chain: every link looks at one thing, and either refuses or proceeds."""

from collections.abc import Callable
from functools import partial

Handler = Callable[[str], str]  # here a request is no more than a token


def authentication(token: str, proceed: Handler) -> str:
    return proceed(token) if token in {"admin", "user"} else "401 who are you?"


def permission(token: str, proceed: Handler) -> str:
    return proceed(token) if token == "admin" else "403 you may not"


def compose(links: list[Callable[[str, Handler], str]], handler: Handler) -> Handler:
    for link in reversed(links):  # from the inside to the outside
        handler = partial(link, proceed=handler)  # remembers this link and this handler
    return handler


delete = compose([authentication, permission], lambda _: "204 deleted")  # no `if` about tokens in here
for token in ("admin", "user", "?"):
    print(token, "->", delete(token))
