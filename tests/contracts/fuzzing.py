"""
Requests that the API's own document describes, and some that it forbids, made by Schemathesis.

Whatever is asked, the answer has to be one that the document names: its status, its type, its headers, its schema.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, CheckFunction, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.api import ORIGIN, Api

OWNER, NOBODY = "the owner", "nobody"
AnyCase: TypeAlias = "Case[Any]"
AnyOperation: TypeAlias = "APIOperation[Any, Any, Any, Any]"
PATIENCE_S = 20.0  # no answer in these tests takes nearly as long
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Bodies are what clients send; where one is known to be good, a request gets past the first check.
GOOD = {"taskType": "order", "payload": {"number": 1}}
WAITS = {"waitMs": 0}  # long polls answer at once here
_guards: list[list[Any]] = []  # the one that is on, if any, and what it refused


@contextmanager
def only_the_database(url: str) -> Iterator[list[Any]]:
    """Refuse every connection but those to the database at *url*; yields what was tried."""
    refused: list[Any] = []
    place = httpx.URL(url)
    allowed = {(place.host, place.port), (f"[{place.host}]", place.port)}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if any(guard is refused for guard in _guards) and event == "socket.connect":
            address = arguments[1]
            if not isinstance(address, str | bytes) and tuple(address[:2]) not in allowed:
                refused.append(address)
                raise ConnectionRefusedError(f"tests connect to the database only, not to {address}")

    sys.addaudithook(hook)  # it cannot be taken away again, so the list says when it is meant
    _guards.append(refused)
    try:
        yield refused
    finally:
        _guards.clear()


@schemathesis.serializer("application/x-ndjson")
def lines(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    text = value if isinstance(value, str | bytes) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


class Fuzzer:
    """
    Sends requests to *api*, from threads, and keeps what was wrong with the answers.

    Args:
        loop: where the application runs.
        clients: who asks, by name: the owner most often, and nobody without a key.
    """

    def __init__(self, api: Api, loop: asyncio.AbstractEventLoop, clients: dict[str, httpx.AsyncClient]) -> None:
        self._loop = loop
        self._clients = clients
        self.known: dict[str, list[str]] = {}  # field → values that answers held
        self.found: dict[tuple[str, str], str] = {}  # (operation, what) → the first request that showed it
        self.statuses: dict[int, int] = {}

    def run(self, operation: AnyOperation, *, examples: int, number: int) -> None:
        """Ask *operation* in *examples* ways, the same ones for the same *number*."""
        modes = st.one_of(
            operation.as_strategy(GenerationMode.POSITIVE), operation.as_strategy(GenerationMode.NEGATIVE)
        )

        @seed(number)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(
            case=modes,
            who=st.sampled_from([*self._clients, OWNER, OWNER]),
            aimed=st.booleans(),
            which=st.integers(0, 10**6),
        )
        def ask(case: AnyCase, who: str, aimed: bool, which: int) -> None:
            self._ask(case, who, which if aimed else None)

        ask()

    def _ask(self, case: AnyCase, who: str, which: int | None) -> None:
        changed = which is not None and self._aim(case, which)
        if isinstance(case.body, dict) and "waitMs" in case.body:
            case.body |= WAITS
        arguments = case.as_transport_kwargs(base_url=ORIGIN)
        wire = requests.Request(
            **{name: value for name, value in arguments.items() if name not in {"timeout", "stream", "verify"}}
        ).prepare()
        answer = self._send(who, wire)
        self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
        label = case.operation.label
        if who == NOBODY and case.operation.definition.raw.get("security") and answer.is_success:
            self._note(label, f"{answer.status_code} without a key", wire, answer)
        if not answer.headers.get("x-request-id"):
            self._note(label, "no X-Request-Id", wire, answer)
        by_line = case.media_type == "application/x-ndjson"  # it refuses lines, not the whole
        checks = CHECKS if changed or by_line or who != OWNER else [*CHECKS, negative_data_rejection]
        try:
            case.validate_response(answer, checks=checks)
        except FailureGroup as group:
            for failure in group.exceptions:
                self._note(label, f"{type(failure).__name__} {failure.args}"[:300], wire, answer)
        except Failure as failure:
            self._note(label, f"{type(failure).__name__} {failure}"[:300], wire, answer)
        self.learn(answer)

    def _aim(self, case: AnyCase, which: int) -> bool:
        """Ask for things that there are."""
        changed = False
        for name in case.path_parameters or {}:
            values = self.known.get(name) or self.known.get(f"{case.operation.path.split('/')[3]}/{name}")
            if values:
                case.path_parameters[name] = values[which % len(values)]
                changed = True
        body: Any = case.body
        if isinstance(body, dict):
            for name, value in GOOD.items():
                if name in body:
                    body[name] = value
                    changed = True
            for name in ("workerId", "fileId", "token", "tokens", "incarnation"):
                if name in body and self.known.get(name):
                    body[name] = self.known[name][which % len(self.known[name])]
                    changed = True
        return changed

    def _send(self, who: str, wire: requests.PreparedRequest) -> httpx.Response:
        body = wire.body.encode("utf-8", "surrogatepass") if isinstance(wire.body, str) else wire.body
        headers = {
            name.encode("latin-1", "replace"): (value.encode("utf-8") if isinstance(value, str) else value)
            for name, value in wire.headers.items()
            if name.lower() not in {"authorization", "x-api-key"}
        }

        async def exchange() -> httpx.Response:
            async with asyncio.timeout(PATIENCE_S):
                return await self._clients[who].request(
                    str(wire.method), str(wire.url), content=cast("bytes | None", body), headers=list(headers.items())
                )

        return asyncio.run_coroutine_threadsafe(exchange(), self._loop).result()

    def learn(self, answer: httpx.Response) -> None:
        if answer.status_code >= 300 or "json" not in answer.headers.get("content-type", ""):
            return

        def visit(value: Any) -> None:
            if isinstance(value, dict):
                for name, item in value.items():
                    if isinstance(item, str | int) and (name.endswith("Id") or name in {"token", "incarnation"}):
                        values = self.known.setdefault(name, [])
                        if item not in values:
                            values[:] = [*values[-20:], item]  # type: ignore[list-item]
                    else:
                        visit(item)
            elif isinstance(value, list):
                for item in value:
                    visit(item)

        try:
            visit(answer.json())
        except ValueError:
            return

    def _note(self, label: str, what: str, wire: requests.PreparedRequest, answer: httpx.Response) -> None:
        shown = f"{wire.method} {wire.url}\n  {dict(wire.headers)}\n  {wire.body!r:.600}"
        self.found.setdefault(
            (label, what), f"{label}: {what}\n  {shown}\n  → {answer.status_code} {answer.text[:600]}"
        )


def operations(document: dict[str, Any]) -> list[AnyOperation]:
    """Return the operations of *document*."""
    schema = schemathesis.openapi.from_dict(document)
    return [cast(Any, result).ok() for result in schema.get_all_operations()]
