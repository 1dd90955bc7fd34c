"""Build the chain."""

from collections.abc import Callable, Sequence

Handler = Callable[[str], str]
Link = Callable[[str, Handler], str]


def compose(links: Sequence[Link], handler: Handler) -> Handler:
    for link in reversed(links):
        handler = _bind(link, handler)
    return handler


def _bind(link: Link, proceed: Handler) -> Handler:
    """A function of its own, so that each step keeps its own link and its own next handler."""
    return lambda request: link(request, proceed)
