"""
Reading requests: a JSON body in one pass, query parameters by name.

JSON is taken strictly: UTF-8 without a byte order mark, finite numbers, bounded nesting. When a key occurs twice the
last one counts, for the checks and for what is stored alike, so the two cannot be told different things.
"""

import asyncio
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from taskflow.http.problem import BodyTimeout, NotJson, WrongMediaType
from taskflow.http.validation import field_errors
from taskflow.kernel.errors import FieldError, Invalid
from taskflow.kernel.json import JSONValue

BODY_TIMEOUT_S = 30.0
MAX_QUERY_FIELDS = 50
NDJSON_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")

_Model = TypeVar("_Model", bound=BaseModel)
_decode = msgspec.json.Decoder().decode


async def read_body(request: Request) -> bytes:
    """Return the whole body, which the edge bounds. Raises BodyTimeout after `BODY_TIMEOUT_S`."""
    receive = request.receive
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            message = await receive()
            body: bytes = message.get("body", b"")
            if not message.get("more_body", False):
                return body
            chunks = [body]
            while message.get("more_body", False):
                message = await receive()
                chunks.append(message.get("body", b""))
            return b"".join(chunks)
    except TimeoutError:
        raise BodyTimeout(f"the request's body did not arrive within {BODY_TIMEOUT_S:g} s") from None


def check_json_type(headers: Mapping[str, str]) -> None:
    """Raise WrongMediaType unless the headers announce plain JSON in UTF-8."""
    given = headers.get("content-type", "")
    if given != "application/json":
        media_type, _, parameters = given.partition(";")
        media_type = media_type.strip().lower()
        if media_type != "application/json" and not (
            media_type.startswith("application/") and media_type.endswith("+json")
        ):
            raise WrongMediaType(f"send JSON with 'Content-Type: application/json', got {given[:100]!r}")
        if not _is_utf8(parameters):
            raise WrongMediaType(f"JSON is sent in UTF-8, got {parameters.strip()[:100]!r}")
    _check_uncompressed(headers)


def check_ndjson_type(headers: Mapping[str, str]) -> None:
    """Raise WrongMediaType unless the headers announce plain JSON lines in UTF-8."""
    given = headers.get("content-type", "")
    media_type, _, parameters = given.partition(";")
    if media_type.strip().lower() not in NDJSON_TYPES or not _is_utf8(parameters):
        raise WrongMediaType(f"send lines of JSON with 'Content-Type: {NDJSON_TYPES[0]}', got {given[:100]!r}")
    _check_uncompressed(headers)


def _is_utf8(parameters: str) -> bool:
    """Say so of the parameters of a media type; without any it is."""
    return parameters.strip().lower().removeprefix("charset=").strip('"') in {"", "utf-8", "utf8"}


def _check_uncompressed(headers: Mapping[str, str]) -> None:
    if (encoding := headers.get("content-encoding", "identity")) != "identity":
        raise WrongMediaType(f"send the body uncompressed, got 'Content-Encoding: {encoding[:100]}'")


def parse_json(body: bytes, *, what: str = "the body") -> JSONValue:
    """Decode *body*. Raises NotJson with what is wrong and where."""
    if not body:
        raise NotJson(f"{what} is empty; send JSON")
    try:
        value: JSONValue = _decode(body)
    except UnicodeDecodeError:
        raise NotJson(f"{what} is not UTF-8") from None
    except RecursionError:
        raise NotJson("the JSON is nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise NotJson(f"{what} is not JSON: {error}") from None
    return value


def read_query(request: Request, model: type[_Model]) -> _Model:
    """
    Return the query parameters as *model*.

    Raises:
        Invalid: naming every parameter that is unknown, given twice or wrong.
    """
    text = request.scope["query_string"].decode("ascii", "replace")
    errors = []
    values: dict[str, str] = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS, errors="strict")
    except UnicodeDecodeError:
        raise Invalid("the query is not UTF-8", code="bad_query") from None
    except ValueError:
        raise Invalid(f"the query has over {MAX_QUERY_FIELDS} parameters", code="bad_query") from None
    for name, value in pairs:
        if name in values:
            errors.append(FieldError(name, "given_twice", "is given more than once"))
        elif "\0" in value:  # PostgreSQL holds no such text
            errors.append(FieldError(name, "unstorable", "holds the character U+0000"))
        values[name] = value
    try:
        parsed = model.model_validate(values)
    except ValidationError as error:
        names = [field.alias or name for name, field in model.model_fields.items()]
        errors += field_errors(error, parameters=names)
    if errors:
        raise Invalid("the query has invalid parameters", errors=errors)
    return parsed
