"""
Datasets: what they hold, and how their rows are exchanged for others.

A sync reads its URL outside of any transaction and then takes the dataset's lock. Had another one been faster, what was
read may be the older of the two, so the version tells and it is read again: the last to read is the last to write.
Had the dataset been deleted, the sync fails for good: what somebody deletes does not come back from a job that runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from taskflow.datasets import repository
from taskflow.datasets.repository import Dataset, NewRow, Row
from taskflow.db.pool import Database
from taskflow.db.query import Connection
from taskflow.kernel.errors import NotFound, Permanent

MAX_DATASETS = 1000  # of a namespace


@dataclass(frozen=True, slots=True)
class Switched:
    """What a switch did to the rows."""

    added: int
    changed: int
    removed: int
    unchanged: int
    version: int


class Datasets:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Looking ---------------------------------------------------------------------------------------------------------

    async def get(self, namespace: UUID, name: str) -> Dataset:
        """Return a dataset. Raises NotFound."""
        async with self._database.acquire() as connection:
            dataset = await repository.find(connection, namespace, name)
        if dataset is None:
            raise _missing(name)
        return dataset

    async def list_page(self, namespace: UUID, *, after: str, limit: int) -> list[Dataset]:
        """Return up to *limit* datasets above *after*, by name."""
        async with self._database.acquire() as connection:
            return await repository.list_page(connection, namespace, after=after, limit=limit)

    async def list_rows(self, namespace: UUID, name: str, *, after: str, limit: int) -> tuple[Dataset, list[Row]]:
        """Return the dataset and up to *limit* rows above *after*, by key, of one snapshot. Raises NotFound."""
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            dataset = await repository.find(connection, namespace, name)
            if dataset is None:
                raise _missing(name)
            return dataset, await repository.list_rows(connection, namespace, name, after=after, limit=limit)

    # Changing --------------------------------------------------------------------------------------------------------

    async def open(self, namespace: UUID, name: str) -> Dataset:
        """
        Return a dataset, made if there is none.

        Raises:
            Permanent: the namespace has `MAX_DATASETS` already, or the dataset is deleted just now.
        """
        async with self._database.acquire() as connection:
            if (dataset := await repository.find(connection, namespace, name)) is not None:
                return dataset
            if await repository.count(connection, namespace) >= MAX_DATASETS:
                raise Permanent(f"there are {MAX_DATASETS} datasets already, which is the limit")
            await repository.make(connection, namespace, name)
            made = await repository.find(connection, namespace, name)
        if made is None:
            raise _deleted(name)
        return made

    async def look_again(self, namespace: UUID, dataset: Dataset) -> Dataset:
        """Return *dataset* as it is now. Raises Permanent: it has been deleted."""
        async with self._database.acquire() as connection:
            now = await repository.find(connection, namespace, dataset.name)
        if now is None or now.created_at != dataset.created_at:
            raise _deleted(dataset.name)
        return now

    async def delete(self, namespace: UUID, name: str) -> None:
        """
        Delete a dataset with its rows, in one transaction that begins after the turn of a sync that writes.

        Raises NotFound: of two deletes at once, one too.
        """
        async with self._database.transaction() as connection:
            if await repository.lock(connection, namespace, name) is None:
                raise _missing(name)
            await repository.delete(connection, namespace, name)

    async def switch(
        self,
        namespace: UUID,
        dataset: Dataset,
        rows: Sequence[NewRow],
        *,
        source: Mapping[str, Any],
        etag: str | None,
        last_modified: str | None,
    ) -> Switched | None:
        """
        Make *rows* those of *dataset*, in one transaction; None if it is not any more what it was when it was read.

        Raises Permanent: it has been deleted.
        """
        async with self._database.transaction() as connection:
            if not await _take_turn(connection, namespace, dataset):
                return None
            added, changed, removed = await repository.switch(connection, namespace, dataset.name, rows)
            version = await repository.note_sync(
                connection,
                namespace,
                dataset.name,
                source=source,
                etag=etag,
                last_modified=last_modified,
                is_changed=bool(added or changed or removed),
                row_count=len(rows),
            )
        return Switched(added, changed, removed, len(rows) - added - changed, version)

    async def keep(self, namespace: UUID, dataset: Dataset) -> Switched | None:
        """Write down that *dataset* is as it was; None if it is not. Raises Permanent: it has been deleted."""
        assert dataset.source is not None, "only what was read can be unchanged"
        async with self._database.transaction() as connection:
            if not await _take_turn(connection, namespace, dataset):
                return None
            version = await repository.note_sync(
                connection,
                namespace,
                dataset.name,
                source=dataset.source,
                etag=dataset.etag,
                last_modified=dataset.last_modified,
                is_changed=False,
                row_count=dataset.row_count,
            )
        return Switched(0, 0, 0, dataset.row_count, version)


async def _take_turn(connection: Connection, namespace: UUID, dataset: Dataset) -> bool:
    """Lock *dataset* until the transaction ends; False if it has changed. Raises Permanent: it has been deleted."""
    locked = await repository.lock(connection, namespace, dataset.name)
    if locked is None:
        raise _deleted(dataset.name)
    version, created_at = locked
    if created_at != dataset.created_at:
        raise _deleted(dataset.name)
    return version == dataset.version


def _deleted(name: str) -> Permanent:
    return Permanent(f"the dataset {name!r} was deleted while this job ran")


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no dataset {name[:100]!r}")
