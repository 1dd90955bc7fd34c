"""The `Link` header (RFC 8288) of a page that goes on."""

from urllib.parse import quote, urlencode

from starlette.requests import Request

LINK = {"Link": 'The next page, `rel="next"`.'}  # what OpenAPI says of it


def link_headers(request: Request, cursor: str | None) -> dict[str, str]:
    """Return the header of an answer to *request* that names the next page, if there is one."""
    if cursor is None:
        return {}
    return {"Link": next_link(quote(request.scope["path"]), dict(request.query_params), cursor)}


def next_link(path: str, parameters: dict[str, str], cursor: str) -> str:
    """Return the value of the header."""
    return f'<{path}?{urlencode({**parameters, "cursor": cursor})}>; rel="next"'
