"""
Build the chain.

A handler takes a request and returns an answer. A link takes a request and the next handler, and decides whether to
call it. `compose` makes one handler of many links and a last handler: the first link of the list is the outermost, the
first to see the request and the last to see the answer.

The version below has the trap of the guide in it. Find out what it does before you repair it.
"""

from collections.abc import Callable, Sequence

Handler = Callable[[str], str]
Link = Callable[[str, Handler], str]


def compose(links: Sequence[Link], handler: Handler) -> Handler:
    for link in links:
        handler = lambda request: link(request, handler)  # noqa: B023, E731
    return handler
