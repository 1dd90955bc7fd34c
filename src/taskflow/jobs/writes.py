"""Writes that happen once: what every endpoint with an Idempotency-Key shares."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from taskflow.db.query import Connection
from taskflow.http import idempotency
from taskflow.http.body import read_query
from taskflow.http.call import Call
from taskflow.http.fields import NoQuery
from taskflow.http.idempotency import Answer, Idempotency
from taskflow.identity.access import Principal
from taskflow.kernel.errors import DomainError, PayloadTooLarge

_T = TypeVar("_T")


class Writes:
    """Carries out the writes of requests."""

    def __init__(self, once: Idempotency) -> None:
        self._once = once

    async def act(
        self,
        request: Request,
        principal: Principal,
        write: Callable[[Connection | None], Awaitable[Answer]],
        *,
        body: bytes = b"",
        after: Callable[[Answer], None] = lambda _answer: None,
    ) -> Response:
        """
        Carry out a write, once if the request has a key.

        Args:
            write: with None it uses, and commits on, a connection of its own.
            after: called when the transaction that *write* was given has committed, for wake-ups.
        """
        read_query(request, NoQuery)
        key = idempotency.read_key(Call.of(request.scope).headers) if request.method != "DELETE" else None
        if key is None:
            return (await write(None)).response()
        return await self.once(request, principal, key, body, write, after=after)

    async def once(
        self,
        request: Request,
        principal: Principal,
        key: str,
        body: bytes,
        write: Callable[[Connection], Awaitable[Answer]],
        *,
        after: Callable[[Answer], None],
    ) -> Response:
        """Carry out a write in one transaction with its *key*."""
        asked = idempotency.Request(
            principal_id=principal.id,
            namespace=principal.namespace,
            route=f"{request.method} {Call.of(request.scope).route}",
            key=key,
            fingerprint=idempotency.fingerprint(*(str(value).encode() for value in request.path_params.values()), body),
        )
        answer, replayed = await self._once.once(asked, write)
        if not replayed:
            after(answer)
        return answer.response(replayed=replayed)


async def later(checking: Awaitable[_T]) -> Callable[[], _T]:
    """
    Return what gives the result of *checking*, or raises what it raised.

    Checks use connections of their own, so they come before the transaction; but an answer that was kept is given again
    whatever has changed meanwhile, so a refusal has to wait until it is known that there is none.
    """
    refusal: DomainError | PayloadTooLarge
    try:
        result = await checking
    except (DomainError, PayloadTooLarge) as error:
        refusal = error
    else:
        return lambda: result

    def refuse() -> _T:
        raise refusal

    return refuse
