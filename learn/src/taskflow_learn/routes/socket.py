"""The one path that stops speaking HTTP."""

import asyncio
from functools import partial

from taskflow_learn.http.request import Request
from taskflow_learn.http.response import Response
from taskflow_learn.http.router import Router
from taskflow_learn.middleware import Authentication, compose
from taskflow_learn.services import Services
from taskflow_learn.websocket.client import Client
from taskflow_learn.websocket.handshake import accept_headers, check_origin
from taskflow_learn.websocket.hub import PATH


def register(router: Router, services: Services) -> None:
    authentication = Authentication(services.settings, services.log, from_query=True, open_without_tokens=True)

    async def connect(request: Request) -> Response:
        if not services.settings.has_tokens:
            check_origin(request)
        return Response(101, accept_headers(request), takeover=partial(_converse, services, request))

    router.add("GET", PATH, compose([authentication], connect))


async def _converse(services: Services, request: Request, writer: asyncio.StreamWriter) -> None:
    settings = services.settings
    client = Client(
        request.wire,
        writer,
        services.log,
        message_limit=settings.ws_message_limit_bytes,
        buffer_limit=settings.ws_buffer_limit_bytes,
    )
    services.log.info("WebSocket connected", requestId=request.id, clientId=client.id)
    await services.hub.host(client)
    services.log.info("WebSocket disconnected", requestId=request.id, clientId=client.id)
