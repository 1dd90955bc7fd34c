"""The routes of workers over HTTP: they read requests and write answers; what happens in between is `service`."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from taskflow.http import operation
from taskflow.http.body import check_json_type, parse_json, read_body, read_query
from taskflow.http.call import Call
from taskflow.http.drain import Drain
from taskflow.http.fields import NoQuery
from taskflow.http.idempotency import HEADER, Answer
from taskflow.http.limits import LimitName
from taskflow.http.operation import PREFIX, Operation
from taskflow.http.problem import BadHeader
from taskflow.http.validation import field_errors
from taskflow.identity.access import Permission, Principal
from taskflow.identity.guard import Guard
from taskflow.jobs.remote.schemas import (
    ClaimedJobs,
    ClaimJobs,
    CompleteJobs,
    FailJobs,
    HandBackJobs,
    Heartbeat,
    HeartbeatAnswer,
    ItemsView,
    LinesView,
    PublishedKinds,
    PublishKinds,
    ReportProgress,
    ReportsView,
    SignedOff,
    SignOff,
    WriteLines,
)
from taskflow.jobs.remote.service import RemoteWork
from taskflow.jobs.remote.visit import Visit
from taskflow.kernel.errors import Invalid

_Model = TypeVar("_Model", bound=BaseModel)
_encode = msgspec.json.Encoder().encode


class RemoteEndpoints:
    """Handlers of the routes that `operations` lists."""

    def __init__(self, work: RemoteWork, guard: Guard, drain: Drain) -> None:
        self._work = work
        self._guard = guard
        self._drain = drain

    async def claim(self, request: Request) -> Response:
        principal, asked = await self._read(request, ClaimJobs)
        async with Visit(request, self._drain) as visit:
            check_again = partial(self._guard.check_again, request, Permission.WORK)
            return _answer(await self._work.claim(principal, asked, visit, check_again=check_again))

    async def heartbeat(self, request: Request) -> Response:
        principal, said = await self._read(request, Heartbeat)
        return _answer(await self._work.beat(principal, said))

    async def complete(self, request: Request) -> Response:
        principal, said = await self._read(request, CompleteJobs)
        return _answer(await self._work.complete(principal, said))

    async def fail(self, request: Request) -> Response:
        principal, said = await self._read(request, FailJobs)
        return _answer(await self._work.fail(principal, said))

    async def hand_back(self, request: Request) -> Response:
        principal, said = await self._read(request, HandBackJobs)
        return _answer(await self._work.hand_back(principal, said))

    async def write_logs(self, request: Request) -> Response:
        principal, said = await self._read(request, WriteLines)
        return _answer(await self._work.write_logs(principal, said))

    async def report_progress(self, request: Request) -> Response:
        principal, said = await self._read(request, ReportProgress)
        return _answer(await self._work.report_progress(principal, said))

    async def publish_kinds(self, request: Request) -> Response:
        principal, said = await self._read(request, PublishKinds)
        return _answer(await self._work.publish(principal, said))

    async def sign_off(self, request: Request) -> Response:
        principal, said = await self._read(request, SignOff)
        return _answer(await self._work.sign_off(principal, said.workerId))

    async def _read(self, request: Request, model: type[_Model]) -> tuple[Principal, _Model]:
        """Return who asks and the body. Raises what admission, reading and checking raise, in that order."""
        principal = await self._guard.admit(request, Permission.WORK)
        headers = Call.of(request.scope).headers
        check_json_type(headers)
        if HEADER.lower() in headers:
            detail = f"this route takes no {HEADER}: an attempt's token already makes sending it again safe"
            raise BadHeader(detail)
        read_query(request, NoQuery)
        data = parse_json(await read_body(request))
        try:
            return principal, model.model_validate(data)
        except ValidationError as error:
            raise Invalid("the request has invalid fields; nothing was done", errors=field_errors(error)) from None


def _answer(view: msgspec.Struct) -> Response:
    return Answer(200, _encode(view)).response()


# What OpenAPI says ---------------------------------------------------------------------------------------------------

_JOB_ID = "019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11"
_WORKER_ID = "5b0c7b9e-8f4d-4a51-9a2c-6d1f0a3c7e21"
_TOKEN = "kQHPAAABnAUkqn2fxBC…"  # noqa: S105 -- an example
_UNKNOWN = "The worker was declared dead or signed off (`unknown_worker`): stop what it runs, claim without `workerId`."
_ITEMS = {"items": [{"jobId": _JOB_ID, "attempt": 1, "status": "completed", "error": None}]}
_EXAMPLE_CLAIM = {
    "workerId": _WORKER_ID,
    "heartbeatEveryMs": 5000,
    "leaseMs": 15000,
    "jobs": [
        {
            "jobId": _JOB_ID,
            "taskType": "resize",
            "queue": "images",
            "payload": {"url": "https://example.com/a.png", "width": 640},
            "attempt": 1,
            "failures": 0,
            "retries": 3,
            "timeout": 30000,
            "headers": {"request_id": "a7c1"},
            "token": _TOKEN,
        }
    ],
}


def operations(endpoints: RemoteEndpoints) -> Iterator[Operation]:
    """Yield the routes."""

    def route(path: str, handler: Any, body: type[BaseModel], example: Mapping[str, Any], **said: Any) -> Operation:
        return Operation(
            "POST",
            f"{PREFIX}/worker/{path}",
            handler,
            tag="workers",
            limit=LimitName.WORK,
            body=body,
            body_examples={"usual": example},
            scope="worker",
            **said,
        )

    yield route(
        "claim",
        endpoints.claim,
        ClaimJobs,
        {"taskTypes": ["resize"], "capacity": 10, "waitMs": 30000},
        name="claimJobs",
        summary="Claim jobs",
        description="Up to `capacity` pending jobs of the key's namespace, each as one attempt that this worker now "
        "runs alone. With `waitMs`, the answer waits for the first. Each job has to be ended with its token (complete, "
        "fail, hand back), and while it runs the worker has to send heartbeats.",
        answers={200: operation.Answer("Perhaps no jobs.", ClaimedJobs, _EXAMPLE_CLAIM)},
        problems={
            404: _UNKNOWN,
            409: "The namespace has too many workers (`too_many_workers`).",
            422: "With the code `unknown_kind`: nobody has published a kind that is named.",
            503: "Too many claims wait already, of all or of this namespace (`too_many_waiting`).",
        },
    )
    yield route(
        "heartbeat",
        endpoints.heartbeat,
        Heartbeat,
        {"workerId": _WORKER_ID, "tokens": [_TOKEN]},
        name="beatWorker",
        summary="Prove that a worker lives",
        description="Every `heartbeatEveryMs`. A worker that is silent for `leaseMs` is dead: its jobs go to others.",
        answers={
            200: operation.Answer(
                "What to stop.",
                HeartbeatAnswer,
                {"heartbeatEveryMs": 5000, "cancelled": [{"jobId": _JOB_ID, "attempt": 1}], "lost": []},
            )
        },
        problems={404: _UNKNOWN},
    )
    yield route(
        "complete",
        endpoints.complete,
        CompleteJobs,
        {"items": [{"token": _TOKEN, "result": {"width": 640}}]},
        name="completeJobs",
        summary="End jobs that succeeded",
        description="Each by itself: one that is `lease_lost` hinders no other. Sending it again changes nothing.",
        answers={200: operation.Answer("What became of each.", ItemsView, _ITEMS)},
    )
    yield route(
        "fail",
        endpoints.fail,
        FailJobs,
        {"items": [{"token": _TOKEN, "error": {"type": "HttpError", "message": "502"}, "retryAfter": 5000}]},
        name="failJobs",
        summary="End attempts that failed",
        description="A job with retries left is tried again after a growing pause, or after `retryAfter`.",
        answers={
            200: operation.Answer(
                "What became of each.",
                ItemsView,
                {"items": [{"jobId": _JOB_ID, "attempt": 1, "status": "retrying", "error": None}]},
            )
        },
    )
    yield route(
        "hand-back",
        endpoints.hand_back,
        HandBackJobs,
        {"items": [{"token": _TOKEN}]},
        name="handBackJobs",
        summary="Let others run jobs",
        description="What a worker will not run, or has stopped: nothing is charged. A job that somebody cancelled is "
        "cancelled by this.",
        answers={
            200: operation.Answer(
                "What became of each.",
                ItemsView,
                {"items": [{"jobId": _JOB_ID, "attempt": 1, "status": "pending", "error": None}]},
            )
        },
    )
    yield route(
        "logs",
        endpoints.write_logs,
        WriteLines,
        {"lines": [{"token": _TOKEN, "message": "fetched 3 MB", "level": "info"}]},
        name="writeJobLogs",
        summary="Write to jobs' logs",
        description="Lines of running jobs, at most 1000 of one attempt.",
        answers={200: operation.Answer("How many were written.", LinesView, {"written": 1, "dropped": 0})},
    )
    yield route(
        "progress",
        endpoints.report_progress,
        ReportProgress,
        {"items": [{"token": _TOKEN, "fraction": 0.4, "message": "4 of 10 pages"}]},
        name="reportProgress",
        summary="Say how far jobs are",
        description="The last report of a job is shown with it. Four times a second is often enough.",
        answers={200: operation.Answer("How many were written.", ReportsView, {"written": 1, "dropped": 0})},
    )
    yield route(
        "kinds",
        endpoints.publish_kinds,
        PublishKinds,
        {
            "kinds": [
                {
                    "taskType": "resize",
                    "queue": "images",
                    "timeout": 60000,
                    "schema": {
                        "type": "object",
                        "properties": {"url": {"type": "string"}, "width": {"type": "integer", "minimum": 1}},
                        "required": ["url", "width"],
                        "additionalProperties": False,
                    },
                }
            ]
        },
        name="publishKinds",
        summary="Offer kinds of jobs",
        description="From now on jobs of these kinds can be submitted, and a payload that does not fit the schema is "
        "refused. Publishing the same again changes nothing; the newest schema counts. A schema may refer to parts of "
        "itself with `#/…`, but not to what leads back to the reference, and it has at most 5000 parts when every "
        "reference is written out (`too_costly`).",
        answers={200: operation.Answer("The kinds, as they are now.", PublishedKinds)},
        problems={
            409: "A kind is somebody else's (`kind_taken`; `taken` names them), or the namespace has published too "
            "many (`too_many_kinds`)."
        },
    )
    yield route(
        "sign-off",
        endpoints.sign_off,
        SignOff,
        {"workerId": _WORKER_ID},
        name="signOffWorker",
        summary="End a worker",
        description="The last thing a worker says. Jobs that it still holds go to others, uncharged.",
        answers={200: operation.Answer("It is no more.", SignedOff, {"handedBack": 0})},
        problems={404: _UNKNOWN},
    )
