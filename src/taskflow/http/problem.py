"""
Errors as Problem Details (RFC 9457): the one place where exceptions become answers.

Expected errors show their own words, which are written for callers. Everything else is a bug: the answer says so, names
the request id, and shows nothing of the inside.
"""

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Annotated

import asyncpg
import msgspec
from msgspec import Meta
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from taskflow.db.pool import CONNECTION_ERRORS
from taskflow.http.call import Call
from taskflow.kernel.errors import (
    AlreadyFinal,
    DomainError,
    FieldError,
    PayloadTooLarge,
    TaskFlowError,
    Unauthenticated,
)
from taskflow.telemetry.log import get_logger

MEDIA_TYPE = "application/problem+json"
INTERNAL_DETAIL = "something went wrong on our side; the request id finds it in our logs"
OUTAGE_DETAIL = (
    "the database cannot be reached; if this was a write it may or may not have happened, "
    "and an Idempotency-Key makes trying again safe"
)
MAX_FIELD_ERRORS = 100  # more are cut off

_log = get_logger(__name__)

# What a request meets when the database went away under it.
OUTAGES: tuple[type[Exception], ...] = (*CONNECTION_ERRORS, asyncpg.QueryCanceledError)


class FieldProblem(msgspec.Struct, frozen=True):
    """What is wrong with one field."""

    pointer: Annotated[str, Meta(description="JSON Pointer into the body, or the name of a parameter or header.")]
    code: Annotated[str, Meta(description="Stable; for programs.")]
    detail: Annotated[str, Meta(description="For people; names the limit.")]


class Problem(msgspec.Struct, frozen=True, rename="camel"):
    """Why a request was not carried out (RFC 9457)."""

    type: Annotated[str, Meta(description="`urn:taskflow:problem:` and the code.")]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    instance: Annotated[str, Meta(description="The path that was asked for.")]
    code: Annotated[str, Meta(description="Stable; for programs.")]
    request_id: Annotated[str, Meta(description="Find it in `X-Request-Id` and in our logs.")]
    errors: Annotated[tuple[FieldProblem, ...], Meta(description="Every bad field at once.")] = ()


class NotJson(DomainError):
    """The body is not JSON."""

    status = 400
    code = "not_json"


class BadHeader(DomainError):
    """A header of the request is not valid."""

    status = 400
    code = "bad_header"


class BodyTimeout(DomainError):
    """The request's body did not arrive in time."""

    status = 408
    code = "body_timeout"


class WrongMediaType(DomainError):
    """The body is of a type that this route does not take."""

    status = 415
    code = "wrong_media_type"


class _Internal(DomainError):
    status = 500
    code = "internal"


class _Plain(DomainError):
    """An HTTP status that routing itself gives."""

    def __init__(self, status: int, code: str, detail: str, errors: Sequence[FieldError] = (), **facts: str) -> None:
        super().__init__(detail, code=code, errors=errors, facts=facts)
        self.status = status


def as_domain_error(error: Exception) -> DomainError:
    """Return what *error* looks like from outside; a bug becomes a 500 that shows nothing."""
    match error:
        case DomainError():
            return error
        case PayloadTooLarge():
            found = FieldError("/payload", "payload_too_large", str(error))
            return _Plain(413, "payload_too_large", str(error), errors=[found])
        case AlreadyFinal():
            return _Plain(409, "already_final", str(error), state=error.state)
        case HTTPException(status_code=404):
            return _Plain(404, "no_such_route", "there is nothing at this path")
        case HTTPException(status_code=405):
            return _Plain(405, "method_not_allowed", "this path does not take that method; Allow names those it takes")
        case HTTPException():
            return _Plain(error.status_code, "bad_request", HTTPStatus(error.status_code).phrase)
        case _:
            return _Internal(INTERNAL_DETAIL)


def problem_response(error: DomainError, call: Call, *, path: str, headers: dict[str, str] | None = None) -> Response:
    """Return *error* as an answer."""
    problem = Problem(
        type=f"urn:taskflow:problem:{error.code}",
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.detail,
        instance=path,
        code=error.code,
        request_id=call.request_id,
        errors=tuple(_field_problem(item) for item in error.errors[:MAX_FIELD_ERRORS]),
    )
    headers = dict(headers or {})
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="taskflow"'
    body = msgspec.json.encode({**error.facts, **msgspec.to_builtins(problem)})
    return Response(body, status_code=error.status, headers=headers, media_type=MEDIA_TYPE)


def _field_problem(error: FieldError) -> FieldProblem:
    return FieldProblem(error.pointer, error.code, error.detail)


async def answer_expected(request: Request, error: Exception) -> Response:
    """Answer an error of ours, or one of routing."""
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if "Allow" in headers:  # routing names the first route's method only
        headers["Allow"] = ", ".join(_allowed_methods(request))
    return problem_response(as_domain_error(error), Call.of(request.scope), path=request.url.path, headers=headers)


def _allowed_methods(request: Request) -> list[str]:
    found: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.path_regex.match(request.url.path):
            found |= route.methods or set()
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


async def answer_outage(request: Request, error: Exception) -> Response:
    """Answer 503 when the database went away in the middle of a request; logged, for it may hide a bug."""
    call = Call.of(request.scope)
    _log.warning("taskflow.request.outage", error=type(error).__name__, exc_info=error)
    unavailable = _Plain(503, "unavailable", OUTAGE_DETAIL)
    unavailable.retry_after_s = 1.0
    return problem_response(unavailable, call, path=request.url.path)


async def answer_bug(request: Request, error: Exception) -> Response:
    """Answer 500; the edge logs the traceback."""
    return problem_response(_Internal(INTERNAL_DETAIL), Call.of(request.scope), path=request.url.path)


def handlers() -> dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]]:
    """Return what answers which exception, for the application's `exception_handlers`."""
    return {
        **dict.fromkeys(OUTAGES, answer_outage),
        TaskFlowError: answer_expected,
        HTTPException: answer_expected,
        Exception: answer_bug,
    }
