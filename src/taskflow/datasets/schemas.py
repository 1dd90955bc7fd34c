"""What the datasets API takes and gives."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from taskflow.datasets.repository import Dataset, Row
from taskflow.http.fields import ListPage


class ListDatasets(ListPage):
    """A page, in order."""


class DatasetView(msgspec.Struct, frozen=True, rename="camel"):
    """Rows that `sync` keeps of a URL."""

    name: str
    url: str | None
    version: Annotated[int, Meta(description="Grows whenever a row does not stay as it is.")]
    rows: Annotated[int, Meta(description="How many there are.")]
    created_at: datetime
    synced_at: Annotated[datetime | None, Meta(description="When the URL was read last.")]
    changed_at: Annotated[datetime | None, Meta(description="When a row was added, changed or removed last.")]


class DatasetPageView(msgspec.Struct, frozen=True, rename="camel"):
    """A page of datasets, by name."""

    items: list[DatasetView]
    next_cursor: Annotated[str | None, Meta(description="Of the next page; null at the end.")]


class RowView(msgspec.Struct, frozen=True, rename="camel"):
    """One row of a dataset."""

    key: str
    row: msgspec.Raw
    changed_at: datetime


class RowPageView(msgspec.Struct, frozen=True, rename="camel"):
    """A page of rows, by key."""

    version: Annotated[int, Meta(description="Of the dataset; if it grows between pages, they are of two states.")]
    items: list[RowView]
    next_cursor: Annotated[str | None, Meta(description="Of the next page; null at the end.")]


def view_of_dataset(dataset: Dataset) -> DatasetView:
    return DatasetView(
        name=dataset.name,
        url=None if dataset.source is None else str(dataset.source.get("url", "")),
        version=dataset.version,
        rows=dataset.row_count,
        created_at=dataset.created_at,
        synced_at=dataset.synced_at,
        changed_at=dataset.changed_at,
    )


def view_of_row(row: Row) -> RowView:
    return RowView(key=row.key, row=msgspec.Raw(row.row.encode()), changed_at=row.changed_at)
