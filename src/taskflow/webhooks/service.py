"""
Deliveries as callers see them: list, look, make again. A delivery's attempts are those of the engine's job of the same
id, which lives in a namespace that no caller has; what the receiver said is beside them.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.client import Engine
from taskflow.engine.job import DELIVERY_QUEUE, SYSTEM_NAMESPACE, Attempt, State
from taskflow.http.secret import RootSecret
from taskflow.identity.access import Principal
from taskflow.kernel.errors import Conflict, NotFound
from taskflow.kernel.ids import MAX_ID, find_id
from taskflow.webhooks import repository, signature
from taskflow.webhooks.repository import Delivery, DeliveryStatus, Met


@dataclass(frozen=True, slots=True)
class Followed:
    """
    A delivery with all that is known of it.

    Args:
        url: where it goes.
        next_attempt_at: while it waits for one.
        attempts: of the engine's job, those that have ended.
        met: what the receiver said to each.
    """

    delivery: Delivery
    url: str | None
    next_attempt_at: datetime | None
    attempts: Sequence[Attempt]
    met: Sequence[Met]


class Deliveries:
    """See the module."""

    def __init__(self, database: Database, engine: Engine, root: RootSecret) -> None:
        self._database = database
        self._engine = engine
        self._root = root

    def signing_secret(self, principal: Principal) -> str:
        return signature.signing_secret(self._root, principal.namespace)

    async def list_page(
        self,
        principal: Principal,
        *,
        job_id: UUID | None,
        status: DeliveryStatus | None,
        before: UUID | None,
        limit: int,
    ) -> list[Delivery]:
        """Return up to *limit* deliveries, newest first, below *before*."""
        async with self._database.acquire() as connection:
            return await repository.list_page(
                connection, principal.namespace, job_id=job_id, status=status, before=before or MAX_ID, limit=limit
            )

    async def get(self, principal: Principal, delivery_id: UUID, *, connection: Connection | None = None) -> Followed:
        """Return a delivery with its history. Raises NotFound."""
        async with self._database.lend(connection) as lent:
            delivery = await self._get(lent, principal, delivery_id)
            job = await self._engine.get_job(delivery.id, namespace=SYSTEM_NAMESPACE, connection=lent)
            url = None
            with suppress(NotFound):  # a delivery may be kept longer than its job
                about = await self._engine.get_job(delivery.job_id, namespace=delivery.namespace, connection=lent)
                url = about.callback_url
            attempts = await self._engine.list_attempts(delivery.id, namespace=SYSTEM_NAMESPACE, connection=lent)
            met = await repository.list_responses(lent, delivery.id)
        waits = job.state in (State.PENDING, State.SCHEDULED, State.RETRYING)
        return Followed(delivery, url=url, next_attempt_at=job.run_at if waits else None, attempts=attempts, met=met)

    async def replay(
        self, principal: Principal, delivery_id: UUID, *, connection: Connection | None = None
    ) -> Followed:
        """
        Make a delivery again that has failed or was taken, with the same id and all its attempts anew.

        With *connection*, call `wake` after the commit.

        Raises:
            NotFound: no such delivery in the caller's namespace.
            Conflict: it is still tried (`delivery_pending`), or the job that it tells of is not kept any more, so that
                there is nothing to tell (`job_gone`).
        """
        if connection is None:
            async with self._database.transaction() as own:
                followed = await self.replay(principal, delivery_id, connection=own)
            self.wake()
            return followed
        delivery = await self._get(connection, principal, delivery_id)
        if delivery.status is DeliveryStatus.PENDING:
            raise _still_pending()
        try:
            await self._engine.get_job(delivery.job_id, namespace=delivery.namespace, connection=connection)
        except NotFound:
            raise Conflict("the job that has ended is no longer kept", code="job_gone") from None
        state = State.COMPLETED if delivery.status is DeliveryStatus.DELIVERED else State.FAILED
        try:
            await self._engine.replay(delivery.id, namespace=SYSTEM_NAMESPACE, connection=connection, state=state)
        except Conflict:  # of two replays at once, one waited for the other and finds it done
            raise _still_pending() from None
        await repository.reopen(connection, delivery.id)
        return await self.get(principal, delivery_id, connection=connection)

    def wake(self) -> None:
        """Tell workers of a replay in a transaction that has just committed."""
        self._engine.wake([DELIVERY_QUEUE])

    async def _get(self, connection: Connection, principal: Principal, delivery_id: UUID) -> Delivery:
        delivery = await repository.find(connection, delivery_id, principal.namespace)
        if delivery is None:
            raise NotFound(f"there is no delivery {str(delivery_id)!r}")
        return delivery


def _still_pending() -> Conflict:
    return Conflict(
        "this delivery is pending: it is still tried, and can be made again when it is delivered or has failed",
        code="delivery_pending",
        facts={"status": str(DeliveryStatus.PENDING)},
    )


def delivery_id_of(text: str) -> UUID:
    """
    Return the id that *text* is, also as receivers see it (`webhook-id: msg_…`).

    Raises NotFound: what is no id belongs to no delivery.
    """
    text = text.removeprefix("msg_")
    if (found := find_id(text)) is None:
        raise NotFound(f"there is no delivery {text[:100]!r}")
    return found
