"""The `api_key` table; only the service beside it asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from taskflow.db.query import Connection, load_queries

QUERIES = load_queries(Path(__file__).parent / "queries")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored key: everything but the key itself, of which *hint* shows the last characters."""

    id: UUID
    namespace: UUID
    name: str
    hint: str
    scopes: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class ValidKey:
    """A key that is valid now, for *valid_s* seconds more (None: until it is revoked)."""

    id: UUID
    namespace: UUID
    name: str
    hash: bytes
    scopes: Sequence[str]
    valid_s: float | None


async def insert(
    connection: Connection,
    *,
    namespace: UUID,
    name: str,
    hash_: bytes,
    hint: str,
    scopes: Sequence[str],
    lifetime: timedelta | None,
    now: datetime | None,
) -> ApiKey:
    row = await QUERIES["insert_api_key"].fetchrow(
        connection,
        namespace=namespace,
        name=name,
        hash=hash_,
        hint=hint,
        scopes=list(scopes),
        lifetime=lifetime,
        now=now,
    )
    if row is None:
        raise AssertionError("INSERT … RETURNING gave no row")
    return _api_key(row)


async def find(connection: Connection, hash_: bytes, *, now: datetime | None) -> ValidKey | None:
    row = await QUERIES["find_api_key"].fetchrow(connection, hash=hash_, now=now)
    return None if row is None else ValidKey(**row)


async def list_by_namespace(connection: Connection, namespace: UUID, *, limit: int) -> list[ApiKey]:
    rows = await QUERIES["list_api_keys"].fetch(connection, namespace=namespace, limit=limit)
    return [_api_key(row) for row in rows]


async def revoke(
    connection: Connection, key_id: UUID, namespace: UUID, *, now: datetime | None
) -> tuple[ApiKey, bytes] | None:
    """Return the revoked key and its hash, or None if the namespace has no such key."""
    row = await QUERIES["revoke_api_key"].fetchrow(connection, id=key_id, namespace=namespace, now=now)
    return None if row is None else (_api_key(row), row["hash"])


async def lock_bootstrap(connection: Connection) -> None:
    await QUERIES["lock_bootstrap"].execute(connection)


async def has_any(connection: Connection) -> bool:
    return bool(await QUERIES["any_api_key"].fetchval(connection))


def _api_key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        id=row["id"],
        namespace=row["namespace"],
        name=row["name"],
        hint=row["hint"],
        scopes=tuple(row["scopes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
