"""
Idempotency-Key: a write that is sent twice happens once, and both get the same answer.

    begin ── claim the key ─┬─ new ──────> write, keep the answer, commit ──> answer
                            ├─ a twin is at work ──> wait for its end (≤ WAIT_S), else 409 with Retry-After
                            └─ known ────> same request: its answer again · another one: 422

The claim, the write and the answer are one transaction, so there is no state in which one of them exists alone:
a crash or an error on any line leaves neither write nor key, and the next try starts afresh; a commit whose
acknowledgement got lost is found by the retry. PostgreSQL decides between two at once, by the row of the primary key:
the second claim waits until the first transaction has ended, then sees its row, or none if it rolled back.

Only answers of writes that happened are kept. A refusal (a 409, a 422) changed nothing and is worked out again.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
from starlette.responses import Response

from taskflow.db.pool import Database
from taskflow.db.pruning import prune_for_ever
from taskflow.db.query import Connection, load_queries
from taskflow.db.server import confirm_what_is_seen
from taskflow.http.problem import BadHeader
from taskflow.kernel.errors import Conflict, FieldError, Invalid
from taskflow.telemetry.log import get_logger

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
MAX_KEY_LENGTH = 255
KEPT = timedelta(hours=24)
WAIT_S = 5.0
RETRY_AFTER_S = 1.0
PRUNE_INTERVAL_S = 300.0
PRUNE_BATCH = 1000
_CLAIM_TRIES = 3  # a key that is freed and claimed by others in between each time is a busy twin

QUERIES = load_queries(Path(__file__).parent / "queries")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer before it is sent: JSON bytes, the status, and the headers that belong to it."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, *, replayed: bool = False) -> Response:
        headers = {**self.headers, REPLAYED_HEADER: "true"} if replayed else dict(self.headers)
        return Response(self.body, status_code=self.status, headers=headers, media_type="application/json")


@dataclass(frozen=True, slots=True)
class Request:
    """
    What makes two requests the same: who asked, by which key, for what.

    Args:
        principal_id, namespace: of the caller; two callers may use the same key.
        route: method and template of the route, the same for its aliases.
        key: as the client chose it; 1 to 255 visible ASCII characters.
        fingerprint: SHA-256 of what else must be equal.
    """

    principal_id: UUID
    namespace: UUID
    route: str
    key: str
    fingerprint: bytes


def read_key(headers: Mapping[str, str]) -> str | None:
    """Return the request's key, or None. Raises BadHeader for one that cannot be."""
    key = headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY_LENGTH or not all("!" <= char <= "~" for char in key):
        detail = f"must be 1 to {MAX_KEY_LENGTH} visible ASCII characters"
        raise BadHeader(f"{HEADER} {detail}", code="bad_idempotency_key", errors=[FieldError(HEADER, "bad", detail)])
    return key


def fingerprint(*parts: bytes) -> bytes:
    """Return a hash that is equal for equal *parts* only."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


class Idempotency:
    """Runs writes once per key."""

    def __init__(self, database: Database, *, now: Callable[[], datetime | None] = lambda: None) -> None:
        self._database = database
        self._now = now

    async def once(self, request: Request, write: Callable[[Connection], Awaitable[Answer]]) -> tuple[Answer, bool]:
        """
        Run *write* in a transaction unless *request* was answered before; return its answer and whether it is a replay.

        *write* uses the connection it is given for everything, and no other. What it raises rolls everything back.

        Raises:
            Conflict: a twin has been at work for longer than `WAIT_S`; try again after `RETRY_AFTER_S`.
            Invalid: the key was used for another request.
        """
        names = {"principal_id": request.principal_id, "route": request.route, "key": request.key}
        async with self._database.transaction() as connection:
            known = await self._claim(connection, request, names)
            if known is not None:
                await confirm_what_is_seen(connection)
                return known, True
            answer = await write(connection)
            await QUERIES["keep_idempotent_answer"].execute(
                connection,
                status=answer.status,
                headers=msgspec.json.encode(answer.headers).decode(),
                body=answer.body,
                **names,
            )
        return answer, False

    async def prune(self) -> int:
        """Delete one batch of keys whose 24 h are over and return how many that were."""
        async with self._database.acquire() as connection:
            return await QUERIES["prune_idempotency_keys"].write(
                connection, now=self._now(), kept=KEPT, limit=PRUNE_BATCH
            )

    async def run(self) -> None:
        """Prune now and then, for ever."""

        def tell(error: Exception) -> None:
            _log.warning("taskflow.idempotency.prune.exception", error=type(error).__name__)

        await prune_for_ever(self.prune, batch=PRUNE_BATCH, interval_s=PRUNE_INTERVAL_S, on_error=tell)

    async def _claim(self, connection: Connection, request: Request, names: Mapping[str, object]) -> Answer | None:
        """Claim the key and return None, or return the answer that is kept for it."""
        await connection.execute(f"SET LOCAL lock_timeout = {int(WAIT_S * 1000)}")
        try:
            for _ in range(_CLAIM_TRIES):
                if await QUERIES["claim_idempotency_key"].fetchval(
                    connection, namespace=request.namespace, fingerprint=request.fingerprint, now=self._now(), **names
                ):
                    await connection.execute("SET LOCAL lock_timeout = DEFAULT")
                    return None
                # A new statement sees what a twin has committed meanwhile.
                row = await QUERIES["get_idempotent_answer"].fetchrow(connection, kept=KEPT, now=self._now(), **names)
                if row is not None and not row["expired"]:
                    return _kept_answer(row, request)
                await QUERIES["free_idempotency_key"].execute(connection, kept=KEPT, now=self._now(), **names)
        except asyncpg.LockNotAvailableError:
            pass
        detail = f"a request with this {HEADER} is still at work; try again shortly"
        raise Conflict(detail, code="idempotency_in_progress", retry_after_s=RETRY_AFTER_S)


def _kept_answer(row: asyncpg.Record, request: Request) -> Answer:
    if row["fingerprint"] != request.fingerprint:
        detail = f"this {HEADER} was used for another request; use a new one"
        wrong = FieldError(HEADER, "reused", "belongs to another request")
        raise Invalid(detail, code="idempotency_key_reused", errors=[wrong])
    return Answer(row["status"], row["body"], msgspec.json.decode(row["headers"], type=dict[str, str]))
