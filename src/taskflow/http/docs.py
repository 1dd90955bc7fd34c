"""
`/openapi.json`, and `/docs`: the same document for people, as one page without scripts, which `/` leads to.

(Swagger UI would come from a content delivery network: code of others on the origin of the API, and nothing at all
where there is no Internet.)
"""

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #3b6fd8 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .6rem 0; padding: .5rem .8rem }
summary { cursor: pointer } summary code { color: var(--accent); font-weight: 600 }
code, pre { font: 14px/1.45 ui-monospace, monospace } pre { background: var(--soft); padding: .7rem; overflow-x: auto }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .25rem .5rem;
border-top: 1px solid var(--line) } th { font-weight: 600 }
"""
_ACCESS = """
<h2>Authentication</h2>
<p>Send an API key with each request, as <code>Authorization: Bearer tf_…</code> or as <code>X-API-Key: tf_…</code>.
<code>taskflow keys create</code> makes one. A whole request:</p>
<pre>curl -s http://127.0.0.1:3000/api/v1/jobs \\
  -H 'Authorization: Bearer tf_…' -H 'Content-Type: application/json' \\
  -d '{"taskType": "send_email", "payload": {"to": "ada@example.com", "subject": "Hello", "body": "It works."}}'</pre>
"""
_CODE = re.compile(r"`([^`]+)`")


def add_docs(app: FastAPI) -> None:
    """Serve the document of *app*. Both are made at the first request and kept."""
    kept: dict[str, bytes] = {}

    async def openapi(_request: Request) -> Response:
        body = kept.setdefault("json", msgspec.json.encode(app.openapi()))
        return Response(body, media_type="application/json")

    async def docs(_request: Request) -> Response:
        body = kept.setdefault("html", "".join(_page(app.openapi())).encode())
        return Response(body, media_type="text/html", headers={"Content-Security-Policy": _CSP})

    async def root(_request: Request) -> Response:
        return RedirectResponse("/docs", status_code=307)

    app.add_route("/", root, include_in_schema=False)
    app.add_route("/openapi.json", openapi, include_in_schema=False)
    app.add_route("/docs", docs, include_in_schema=False)


def _page(document: Mapping[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_text(info["title"])} API</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
    yield f"<h1>{_text(info['title'])} <small>{_text(info['version'])}</small></h1>"
    yield f'<p>{_prose(info.get("description", ""))}</p><p><a href="openapi.json">openapi.json</a></p>'
    yield _ACCESS
    for tag in document["tags"]:
        yield f"<h2>{_text(tag['name'])}</h2><p>{_prose(tag['description'])}</p>"
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(method, path, operation)
    yield "<h2>Types</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield f'<details id="{_text(name)}"><summary><code>{_text(name)}</code> {_prose(schema.get("description", ""))}'
        yield f"</summary>{_json(schema)}</details>"
    yield "</html>"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<details><summary><code>{method.upper()} {_text(path)}</code> {_prose(operation['summary'])}</summary>"
    yield f"<p>{_prose(operation.get('description', ''))}</p>"
    if parameters := operation.get("parameters"):
        yield "<table><tr><th>Parameter<th>In<th>What</tr>"
        for item in parameters:
            yield f"<tr><td><code>{_text(item['name'])}</code><td>{item['in']}"
            yield f"<td>{_prose(item.get('description', ''))} "
            yield f"<code>{_text(json.dumps(item['schema']))}</code></tr>"
        yield "</table>"
    if body := operation.get("requestBody"):
        ((media_type, content),) = body["content"].items()
        yield f"<p>Takes {_type(content)}{'' if media_type == 'application/json' else f' as {media_type}'}:</p>"
        for name, example in content.get("examples", {}).items():
            yield f"<p>{_text(name)}</p>{_json(example['value'])}"
    yield "<table><tr><th>Answer<th>When</tr>"
    for status, response in operation["responses"].items():
        given = " ".join(_type(content) for content in response.get("content", {}).values())  # 204 and 304 have none
        yield f"<tr><td><code>{status}</code><td>{_prose(response['description'])} {given}</tr>"
    yield "</table></details>"


def _type(content: Mapping[str, Any]) -> str:
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    return f'<a href="#{_text(name)}"><code>{_text(name)}</code></a>' if name else ""


def _json(value: Any) -> str:
    return f"<pre>{_text(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


def _prose(text: str) -> str:
    """Return *text* for HTML, what is in backticks as code."""
    return _CODE.sub(r"<code>\1</code>", _text(text))


def _text(text: str) -> str:
    return html.escape(text)
