"""The `dataset` and `dataset_row` tables; only the service beside it asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from taskflow.db.query import Connection, load_queries

QUERIES = load_queries(Path(__file__).parent / "queries")


@dataclass(frozen=True, slots=True)
class Dataset:
    """
    A dataset without its rows.

    Args:
        source: what the rows were read with; None until the first time.
        version: grows whenever a row does not stay as it is.
    """

    name: str
    source: Mapping[str, Any] | None
    etag: str | None
    last_modified: str | None
    version: int
    row_count: int
    created_at: datetime
    synced_at: datetime | None
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Row:
    """One row; *row* is JSON text as stored."""

    key: str
    row: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class NewRow:
    """A row as it was read: JSON text, and the hash by which a change is seen."""

    key: str
    text: str
    hash: bytes


async def find(connection: Connection, namespace: UUID, name: str) -> Dataset | None:
    row = await QUERIES["find_dataset"].fetchrow(connection, namespace=namespace, name=name)
    return None if row is None else _dataset(row)


async def list_page(connection: Connection, namespace: UUID, *, after: str, limit: int) -> list[Dataset]:
    rows = await QUERIES["list_datasets"].fetch(connection, namespace=namespace, after=after, limit=limit)
    return [_dataset(row) for row in rows]


async def count(connection: Connection, namespace: UUID) -> int:
    found: int = await QUERIES["count_datasets"].fetchval(connection, namespace=namespace)
    return found


async def list_rows(connection: Connection, namespace: UUID, name: str, *, after: str, limit: int) -> list[Row]:
    rows = await QUERIES["list_rows"].fetch(connection, namespace=namespace, dataset=name, after=after, limit=limit)
    return [Row(**row) for row in rows]


async def make(connection: Connection, namespace: UUID, name: str) -> None:
    await QUERIES["make_dataset"].execute(connection, namespace=namespace, name=name)


async def lock(connection: Connection, namespace: UUID, name: str) -> tuple[int, datetime] | None:
    """Take the turn to change a dataset; return its version and when it was made, None if there is none."""
    row = await QUERIES["lock_dataset"].fetchrow(connection, namespace=namespace, name=name)
    return None if row is None else (row["version"], row["created_at"])


async def delete(connection: Connection, namespace: UUID, name: str) -> None:
    """Delete a dataset with its rows; the caller has its lock."""
    await QUERIES["delete_rows"].execute(connection, namespace=namespace, dataset=name)
    await QUERIES["delete_dataset"].execute(connection, namespace=namespace, name=name)


async def switch(connection: Connection, namespace: UUID, name: str, rows: Sequence[NewRow]) -> tuple[int, int, int]:
    """Make *rows* those of the dataset; return how many were added, changed and removed."""
    found = await QUERIES["switch_rows"].fetchrow(
        connection,
        namespace=namespace,
        dataset=name,
        keys=[row.key for row in rows],
        rows=[row.text for row in rows],
        hashes=[row.hash for row in rows],
    )
    assert found is not None, "counts are always one row"
    return found["added"], found["changed"], found["removed"]


async def note_sync(
    connection: Connection,
    namespace: UUID,
    name: str,
    *,
    source: Mapping[str, Any],
    etag: str | None,
    last_modified: str | None,
    is_changed: bool,
    row_count: int,
) -> int:
    """Write down that the dataset was read; return its version."""
    version: int = await QUERIES["note_sync"].fetchval(
        connection,
        namespace=namespace,
        name=name,
        source=msgspec.json.encode(source).decode(),
        etag=etag,
        last_modified=last_modified,
        is_changed=is_changed,
        row_count=row_count,
    )
    return version


def _dataset(row: asyncpg.Record) -> Dataset:
    source = row["source"]
    return Dataset(**{**row, "source": msgspec.json.decode(source) if source is not None else None})
