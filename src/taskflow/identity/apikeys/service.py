"""
Making, finding and ending API keys.

A key is looked up in the database at most every `CACHE_S`; so long may a revoked one still be taken by another process.
The process that revokes forgets it at once.
"""

import asyncio
import hmac
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.engine.job import DEFAULT_NAMESPACE
from taskflow.identity.access import SCOPES, Principal, permissions_of
from taskflow.identity.apikeys import key as form
from taskflow.identity.apikeys import repository
from taskflow.identity.apikeys.repository import ApiKey
from taskflow.kernel.errors import FieldError, Invalid, NotFound
from taskflow.telemetry.log import get_logger

CACHE_S = 2.0
MAX_CACHED = 10_000
MAX_NAME_LENGTH = 100
MAX_LISTED = 200
HINT_LENGTH = 4
FIRST_KEY_NAME = "first start"
FIRST_KEY_SCOPES = ("owner", "operator")

_log = get_logger(__name__)


class ApiKeys:
    """API keys of all namespaces; an `identity.access.Authenticator`."""

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime | None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._now = now
        self._monotonic = monotonic
        self._cache: dict[bytes, tuple[float, Principal]] = {}
        self._asking: dict[bytes, asyncio.Future[Principal | None]] = {}

    async def authenticate(self, token: str) -> Principal | None:
        """Return whose key *token* is, or None. Raises Unavailable when it cannot be looked up."""
        hash_ = form.digest(token)
        while True:
            principal = self._recall(hash_)
            if principal is not None:
                return principal
            if not form.is_well_formed(token):
                return None
            asking = self._asking.get(hash_)
            if asking is None:
                return await self._ask(hash_)
            # Somebody is asking already: a busy key must not become a burst of queries every CACHE_S.
            await asyncio.wait([asking])
            if not asking.cancelled() and asking.exception() is None:
                return asking.result()

    def recall(self, token: str) -> Principal | None:
        """Return whose key *token* is if that was looked up less than `CACHE_S` ago."""
        return self._recall(form.digest(token))

    def has_met(self, token: str) -> bool:
        """Say whether *token* was a key when it was last looked up; the last `MAX_CACHED` keys are remembered."""
        return form.digest(token) in self._cache

    def _recall(self, hash_: bytes) -> Principal | None:
        cached = self._cache.get(hash_)
        return cached[1] if cached is not None and self._monotonic() < cached[0] else None

    async def _ask(self, hash_: bytes) -> Principal | None:
        answer = self._asking[hash_] = asyncio.get_running_loop().create_future()
        try:
            principal = await self._look_up(hash_)
            answer.set_result(principal)
            return principal
        finally:
            answer.cancel()  # without effect once there is a result; else the others ask for themselves
            del self._asking[hash_]

    async def _look_up(self, hash_: bytes) -> Principal | None:
        asked_at = self._monotonic()
        async with self._database.acquire() as connection:
            found = await repository.find(connection, hash_, now=self._now())
        if found is None or not hmac.compare_digest(found.hash, hash_):
            self._cache.pop(hash_, None)
            return None
        principal = Principal(found.id, found.namespace, found.name, permissions_of(list(found.scopes)))
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        lasts_s = CACHE_S if found.valid_s is None else min(CACHE_S, found.valid_s)
        self._cache[hash_] = (asked_at + lasts_s, principal)
        return principal

    async def create(
        self,
        *,
        namespace: UUID,
        name: str,
        scopes: Sequence[str],
        lifetime: timedelta | None = None,
        connection: Connection,
    ) -> tuple[ApiKey, str]:
        """
        Make a key and return it with its plain text, which nobody can show again.

        Args:
            lifetime: from the database's now; None for a key without an end.

        Raises:
            Invalid: naming each bad argument.
        """
        return await _create(
            connection, namespace=namespace, name=name, scopes=scopes, lifetime=lifetime, now=self._now()
        )

    async def list_keys(self, namespace: UUID, *, connection: Connection) -> list[ApiKey]:
        """Return the namespace's newest `MAX_LISTED` keys, revoked ones too."""
        return await repository.list_by_namespace(connection, namespace, limit=MAX_LISTED)

    async def revoke(self, key_id: UUID, *, namespace: UUID, connection: Connection) -> ApiKey:
        """End a key; here at once, in other processes within `CACHE_S` of the commit. Raises NotFound."""
        found = await repository.revoke(connection, key_id, namespace, now=self._now())
        if found is None:
            raise NotFound(f"there is no API key {str(key_id)!r}")
        key, hash_ = found
        self._cache.pop(hash_, None)
        _log.info("taskflow.api_key.revoked", key_id=str(key.id))
        return key


async def bootstrap(connection: Connection, *, again: bool = False) -> str | None:
    """
    Make the deployment's first key, with owner and operator rights in the default namespace, and return its plain text.

    Returns None when there is any key already, unless *again* asks for one more (the first one's text was lost).
    Call it in a transaction and put the key where its owner finds it *before* the commit: then a crash in between
    leaves a useless file, which the next start replaces, instead of a key that nobody knows.
    """
    await repository.lock_bootstrap(connection)
    if not again and await repository.has_any(connection):
        return None
    _, plain = await _create(
        connection, namespace=DEFAULT_NAMESPACE, name=FIRST_KEY_NAME, scopes=FIRST_KEY_SCOPES, lifetime=None, now=None
    )
    return plain


async def _create(
    connection: Connection,
    *,
    namespace: UUID,
    name: str,
    scopes: Sequence[str],
    lifetime: timedelta | None,
    now: datetime | None,
) -> tuple[ApiKey, str]:
    errors = []
    if not 1 <= len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        errors.append(FieldError("/name", "wrong_length", f"must be 1 to {MAX_NAME_LENGTH} printable characters"))
    if not scopes:
        errors.append(FieldError("/scopes", "required", f"needs at least one of {', '.join(sorted(SCOPES))}"))
    for index, scope in enumerate(scopes):
        if scope not in SCOPES:
            detail = f"is not one of {', '.join(sorted(SCOPES))}"
            errors.append(FieldError(f"/scopes/{index}", "unknown_value", detail))
    if lifetime is not None and lifetime <= timedelta(0):
        errors.append(FieldError("/lifetime", "out_of_range", "must be more than 0"))
    if errors:
        raise Invalid("the API key has invalid fields", errors=errors)
    plain = form.make()
    key = await repository.insert(
        connection,
        namespace=namespace,
        name=name,
        hash_=form.digest(plain),
        hint=plain[-HINT_LENGTH:],
        scopes=sorted(set(scopes)),
        lifetime=lifetime,
        now=now,
    )
    _log.info("taskflow.api_key.created", key_id=str(key.id), scopes=list(key.scopes))
    return key, plain
