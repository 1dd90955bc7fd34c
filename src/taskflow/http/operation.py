"""
Operations: routes of the hot part of the API, and what OpenAPI says about them.

FastAPI's own routes read their signature on every request. An `Operation`'s endpoint takes the request and returns the
finished answer, so what it takes and gives is declared here instead, once, from the same types that check and encode
it: Pydantic models for what comes in, msgspec structs for what goes out.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from taskflow.http.call import Call
from taskflow.http.idempotency import HEADER, MAX_KEY_LENGTH, REPLAYED_HEADER
from taskflow.http.limits import LimitName
from taskflow.http.problem import MEDIA_TYPE, Problem
from taskflow.kernel.errors import Invalid

PREFIX = "/api/v1"
ALIAS_PREFIX = "/api"  # the same without a version, for clients that were there before it

_REF = "#/components/schemas/{name}"

# What every route may answer, by status.
_COMMON_PROBLEMS = {
    500: "A bug of ours; the request id finds it in the log.",
    503: "The database is away or overloaded; try again after `Retry-After` seconds.",
}
_ACCESS_PROBLEMS = {
    401: "No API key, or one that is unknown, expired or revoked.",
    403: "The key lacks the scope for this.",
    429: "The rate limit `{limit}` is used up; try again after `Retry-After` seconds.",
}
_BODY_PROBLEMS = {
    400: "The body is not JSON, or a header is not valid.",
    408: "The body did not arrive in time.",
    413: "The body or the payload is over its limit, which the answer names.",
    415: "The body is not sent as `application/json` in UTF-8.",
    422: "Fields are invalid; every one is named with a pointer.",
}
_RATE_HEADERS = {
    "RateLimit": {
        "description": "What is left of the key's rate limit: `r` requests now, and more in `t` seconds. Not there "
        "where the limit is off.",
        "schema": {"type": "string"},
        "example": '"write";r=199;t=1',
    },
    "RateLimit-Policy": {
        "description": "The key's rate limit: `q` requests at once, and as many again in `w` seconds. Not there where "
        "the limit is off.",
        "schema": {"type": "string"},
        "example": '"write";q=200;w=2',
    },
}
_FORM_PROBLEMS = {
    400: "The body is not a whole `multipart/form-data`, or a header is not valid.",
    408: "The body did not arrive in time.",
    413: "The file is over its limit, which the answer names.",
    415: "The body is not sent as `multipart/form-data`.",
    422: "Fields are invalid; every one is named with a pointer.",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """
    A success: what it means and the struct (or list of structs) it carries.

    Args:
        media_type: with *body* None, the type of an answer that is no JSON; empty for one without a body.
        headers: name → what it says.
    """

    description: str
    body: type[msgspec.Struct] | None
    example: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class TextBody:
    """A body that is no JSON document, and an example of it."""

    media_type: str
    example: str


class Operation(APIRoute):
    """
    One route.

    Args:
        method, path: the path with `{names}`.
        answers: by status; the first is the usual one.
        problems: by status, beyond those that every such route has.
        body, query: models of what is taken.
        form: schema of a `multipart/form-data` body, where that is what is taken.
        path_parameters: name → description.
        scope: needed to ask; None for anybody.
        text_body: in place of *body*, what is taken that is no JSON document.
        once: an Idempotency-Key is taken.
        resumable: an Idempotency-Key is taken and names what can be sent again in part.
        limit: which rate limit it falls under; by default `read` for GET, else `write`.
        alias_of: the path of the operation that this one answers like; only that one is in the schema.
    """

    def __init__(
        self,
        method: str,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        *,
        name: str,
        summary: str,
        description: str = "",
        tag: str,
        answers: Mapping[int, Answer],
        problems: Mapping[int, str] | None = None,
        body: type[BaseModel] | None = None,
        body_examples: Mapping[str, Any] | None = None,
        form: Mapping[str, Any] | None = None,
        query: type[BaseModel] | None = None,
        path_parameters: Mapping[str, str] | None = None,
        scope: str | None = None,
        text_body: TextBody | None = None,
        once: bool = False,
        resumable: bool = False,
        limit: LimitName | None = None,
        alias_of: str | None = None,
    ) -> None:
        limit = limit or (LimitName.READ if method == "GET" else LimitName.WRITE)
        described = {
            **_COMMON_PROBLEMS,
            **({status: text.format(limit=limit) for status, text in _ACCESS_PROBLEMS.items()} if scope else {}),
            **(_BODY_PROBLEMS if body else _FORM_PROBLEMS if form else {}),
        }
        if text_body is not None:
            described |= {400: "A header is not valid.", 415: f"The body is not sent as `{text_body.media_type}`."}
        if query is not None:
            described.setdefault(422, "Parameters are invalid; every one is named.")
        if once:
            described.setdefault(400, f"The {HEADER} is not valid.")
            described[409] = f"A request with the same {HEADER} is still at work."
            described.setdefault(422, f"The {HEADER} was used for another request.")
        for status, text in (problems or {}).items():
            described[status] = f"{text} {described[status]}" if status in described else text
        usual = next(iter(answers))
        parameters = _parameters(query, path_parameters, once=once or resumable)
        super().__init__(
            path,
            endpoint,
            methods=[method],
            name=name,
            operation_id=name,
            summary=summary,
            description=description,
            tags=[tag],
            status_code=usual,
            response_class=Response,
            response_description=answers[usual].description,
            include_in_schema=alias_of is None,
            openapi_extra={
                **({"parameters": parameters} if parameters else {}),
                **({"requestBody": _request_body(body, body_examples)} if body else {}),
                **({"requestBody": _form_body(form)} if form else {}),
                **({"requestBody": _text_body(text_body)} if text_body else {}),
                "responses": {
                    **{str(status): _response(answer, once=once) for status, answer in answers.items()},
                    **{str(status): _problem(described[status]) for status in sorted(described.keys() - answers)},
                },
                "security": [{"bearer": []}, {"apiKey": []}] if scope else [],
            },
        )
        self._call = endpoint
        self._limit = limit.value
        self._template = alias_of or self.path_format
        self.app = self._answer
        self.method = method
        self.answers = answers
        self.structs = [answer.body for answer in answers.values() if answer.body is not None]
        self.body_model = body

    async def _answer(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        call = Call.of(scope)
        call.route = self._template
        call.limit = self._limit
        if "\0" in scope["path"]:  # PostgreSQL holds no such text, so nothing has such a name
            raise Invalid("the path holds the character U+0000", code="bad_path")
        response = await self._call(Request(scope, receive))
        await response(scope, receive, send)


def below(
    prefix: str, method: str, path: str, endpoint: Callable[[Request], Awaitable[Response]], **said: Any
) -> Operation:
    """Return the operation at *path* below *prefix*; below `ALIAS_PREFIX` it is an alias of the one below `PREFIX`."""
    return Operation(method, prefix + path, endpoint, alias_of=None if prefix == PREFIX else PREFIX + path, **said)


class _Untitled(GenerateJsonSchema):
    """Pydantic's schema without the titles that it makes of fields' names, such as "Runat"."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def add_operations(app: FastAPI, operations: Iterable[Operation]) -> None:
    """Give *app* these routes, and its OpenAPI document their types."""
    app.router.routes.extend(operations)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    operations = [route for route in app.routes if isinstance(route, Operation)]
    structs = {Problem, *(struct for operation in operations for struct in operation.structs)}
    _, schemas = msgspec.json.schema_components(sorted(structs, key=lambda item: item.__name__), ref_template=_REF)
    for model in {operation.body_model for operation in operations if operation.body_model is not None}:
        schema = model.model_json_schema(schema_generator=_Untitled, ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    components = document.setdefault("components", {})
    components["schemas"] = dict(sorted({**components.get("schemas", {}), **schemas}.items()))
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer tf_…`."},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key, by itself."},
    }
    for operation in operations:  # FastAPI drops what is null from examples
        if operation.include_in_schema:
            responses = document["paths"][operation.path_format][operation.method.lower()]["responses"]
            for status, answer in operation.answers.items():
                if answer.example is not None:
                    responses[str(status)]["content"][answer.media_type]["example"] = answer.example
    components["headers"] = _RATE_HEADERS
    for path in document["paths"].values():
        for described in path.values():
            limited = "429" in described["responses"]
            for status, response in described["responses"].items():
                response.setdefault("headers", {})["X-Request-Id"] = {
                    "description": "The request's id, as sent or made.",
                    "schema": {"type": "string"},
                }
                if limited and (status < "400" or status == "429"):
                    response["headers"] |= {name: {"$ref": f"#/components/headers/{name}"} for name in _RATE_HEADERS}
                if status in {"409", "429", "503"}:
                    response["headers"]["Retry-After"] = {
                        "description": "Seconds, where trying again may help.",
                        "schema": {"type": "integer"},
                    }
    return document


def _response(answer: Answer, *, once: bool) -> dict[str, Any]:
    headers = dict(answer.headers)
    if once:
        headers[REPLAYED_HEADER] = f"`true` when this is the answer kept for the {HEADER}."
    schema: dict[str, Any] = {"type": "string"}
    if answer.body is not None:
        schema = {"$ref": _REF.format(name=answer.body.__name__)}
    content: dict[str, Any] = {"schema": schema}
    if answer.example is not None:
        content["example"] = answer.example
    described: dict[str, Any] = {"description": answer.description}
    if answer.media_type:
        described["content"] = {answer.media_type: content}
    if headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
        }
    return described


def _problem(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name=Problem.__name__)}}},
    }


def _request_body(model: type[BaseModel], examples: Mapping[str, Any] | None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": _REF.format(name=model.__name__)}}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"required": True, "content": {"application/json": content}}


def _form_body(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"multipart/form-data": {"schema": dict(schema)}}}


def _text_body(body: TextBody) -> dict[str, Any]:
    return {"required": True, "content": {body.media_type: {"schema": {"type": "string"}, "example": body.example}}}


def _parameters(
    query: type[BaseModel] | None, path_parameters: Mapping[str, str] | None, *, once: bool
) -> Sequence[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": text,
            "schema": {"type": "string", "format": "uuid"} if name.endswith("Id") else {"type": "string"},
        }
        for name, text in (path_parameters or {}).items()
    ]
    if query is not None:
        parameters += _query_parameters(query)
    if once:
        parameters.append(
            {
                "name": HEADER,
                "in": "header",
                "required": False,
                "description": "Any string of yours; a write sent again with it happens once. Kept for 24 h.",
                "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[!-~]+$"},
            }
        )
    return parameters


@cache
def _query_parameters(query: type[BaseModel]) -> Sequence[dict[str, Any]]:
    parameters = []
    for name, schema in query.model_json_schema(schema_generator=_Untitled)["properties"].items():
        parameter = {"name": name, "in": "query", "required": False, "schema": schema}
        if description := schema.pop("description", None):
            parameter["description"] = description
        parameters.append(parameter)
    return parameters
