"""The routes of deliveries and of the secret that they are signed with."""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskflow.db.query import Connection
from taskflow.http import operation
from taskflow.http.body import read_query
from taskflow.http.fields import NoQuery
from taskflow.http.idempotency import Answer
from taskflow.http.link import LINK, link_headers
from taskflow.http.operation import PREFIX, Operation
from taskflow.http.paging import Cursors
from taskflow.identity.access import Permission
from taskflow.identity.guard import Guard
from taskflow.jobs.writes import Writes
from taskflow.webhooks.schemas import (
    DeliveryPageView,
    DeliveryView,
    ListDeliveries,
    SigningSecretView,
    view_of_delivery,
    view_of_followed,
)
from taskflow.webhooks.service import Deliveries, delivery_id_of

_encode = msgspec.json.Encoder().encode


class DeliveryEndpoints:
    """Handlers of the routes that `operations` lists."""

    def __init__(self, deliveries: Deliveries, guard: Guard, writes: Writes, cursors: Cursors) -> None:
        self._deliveries = deliveries
        self._guard = guard
        self._writes = writes
        self._cursors = cursors

    async def get_secret(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_SECRETS)
        read_query(request, NoQuery)
        view = SigningSecretView(self._deliveries.signing_secret(principal))
        return Answer(200, _encode(view), {"Cache-Control": "no-store"}).response()

    async def list_deliveries(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_JOBS)
        query = read_query(request, ListDeliveries)
        binding = ("deliveries", principal.namespace, query.jobId, query.status)
        before = None if query.cursor is None else UUID(bytes=self._cursors.open(query.cursor, *binding))
        found = await self._deliveries.list_page(
            principal, job_id=query.jobId, status=query.status, before=before, limit=query.limit + 1
        )
        items = found[: query.limit]
        cursor = self._cursors.seal(items[-1].id.bytes, *binding) if len(found) > len(items) else None
        page = DeliveryPageView([view_of_delivery(delivery) for delivery in items], cursor)
        return Answer(200, _encode(page), link_headers(request, cursor)).response()

    async def get_delivery(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_JOBS)
        read_query(request, NoQuery)
        followed = await self._deliveries.get(principal, delivery_id_of(request.path_params["deliveryId"]))
        return Answer(200, _encode(view_of_followed(followed))).response()

    async def replay(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_JOBS)
        delivery_id = delivery_id_of(request.path_params["deliveryId"])

        async def write(connection: Connection | None) -> Answer:
            followed = await self._deliveries.replay(principal, delivery_id, connection=connection)
            return Answer(200, _encode(view_of_followed(followed)))

        return await self._writes.act(request, principal, write, after=lambda _answer: self._deliveries.wake())


# What OpenAPI says ---------------------------------------------------------------------------------------------------

_EXAMPLE_ID = "019ab0f2-7c11-7d02-8a44-52f0e8a9b310"
_EXAMPLE: Mapping[str, Any] = {
    "deliveryId": _EXAMPLE_ID,
    "jobId": "019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11",
    "taskType": "send_email",
    "event": "job.completed",
    "status": "pending",
    "createdAt": "2026-11-23T09:30:00.161Z",
    "settledAt": None,
}
_EXAMPLE_ALONE = {
    **_EXAMPLE,
    "url": "https://shop.example/done",
    "nextAttemptAt": "2026-11-23T09:30:05.4Z",
    "attempts": [
        {
            "attempt": 1,
            "outcome": "error",
            "finishedAt": "2026-11-23T09:30:00.4Z",
            "error": "https://shop.example answered 503",
            "nextAttemptAt": "2026-11-23T09:30:05.4Z",
            "response": {
                "status": 503,
                "body": "try later",
                "fault": None,
                "duration": 180,
                "at": "2026-11-23T09:30:00.39Z",
            },
        }
    ],
}
_DELIVERY_ID = {"deliveryId": "Of the delivery."}
_NO_DELIVERY = "No such delivery in the key's namespace."


def operations(endpoints: DeliveryEndpoints) -> Iterator[Operation]:
    """Yield the routes."""

    def route(method: str, path: str, handler: Any, **said: Any) -> Operation:
        return Operation(method, PREFIX + path, handler, tag="webhooks", **said)

    yield route(
        "GET",
        "/webhooks/signing-secret",
        endpoints.get_secret,
        name="getSigningSecret",
        summary="Read the secret that callbacks are signed with",
        description="Give it to a library of Standard Webhooks to verify what comes in.",
        query=NoQuery,
        answers={200: operation.Answer("The secret.", SigningSecretView, {"secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="})},
        scope="owner",
    )
    yield route(
        "GET",
        "/webhooks/deliveries",
        endpoints.list_deliveries,
        name="listDeliveries",
        summary="List deliveries",
        description="One for each time that a job with a `callbackUrl` ended, newest first.",
        query=ListDeliveries,
        answers={
            200: operation.Answer(
                "A page.",
                DeliveryPageView,
                {"items": [_EXAMPLE], "nextCursor": None},
                LINK,
            )
        },
        scope="jobs:read",
    )
    yield route(
        "GET",
        "/webhooks/deliveries/{deliveryId}",
        endpoints.get_delivery,
        name="getDelivery",
        summary="Look at a delivery",
        description="With its attempts and what the receiver said to each.",
        query=NoQuery,
        path_parameters=_DELIVERY_ID,
        answers={200: operation.Answer("The delivery.", DeliveryView, _EXAMPLE_ALONE)},
        problems={404: _NO_DELIVERY},
        scope="jobs:read",
    )
    yield route(
        "POST",
        "/webhooks/deliveries/{deliveryId}/replay",
        endpoints.replay,
        name="replayDelivery",
        summary="Make a delivery again",
        description="One that has failed, or that was taken and is wanted again. The same delivery: its `webhook-id` "
        "stays, so a receiver that has seen it will know; its attempts begin anew.",
        query=NoQuery,
        path_parameters=_DELIVERY_ID,
        answers={200: operation.Answer("Pending again.", DeliveryView, _EXAMPLE_ALONE)},
        problems={
            404: _NO_DELIVERY,
            409: "The delivery is still tried (`delivery_pending`), or its job is no longer kept (`job_gone`).",
        },
        scope="jobs:write",
        once=True,
    )
