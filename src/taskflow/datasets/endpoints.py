"""The routes of datasets: they look and delete; the kind `sync` writes."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from taskflow.datasets.schemas import (
    DatasetPageView,
    DatasetView,
    ListDatasets,
    RowPageView,
    view_of_dataset,
    view_of_row,
)
from taskflow.datasets.service import Datasets
from taskflow.http import operation
from taskflow.http.body import read_query
from taskflow.http.fields import NoQuery
from taskflow.http.idempotency import Answer
from taskflow.http.link import LINK, link_headers
from taskflow.http.operation import PREFIX, Operation
from taskflow.http.paging import MAX_PAGE_BYTES, Cursors
from taskflow.identity.access import Permission
from taskflow.identity.guard import Guard

_encode = msgspec.json.Encoder().encode


class DatasetEndpoints:
    """Handlers of the routes that `operations` lists."""

    def __init__(self, datasets: Datasets, guard: Guard, cursors: Cursors) -> None:
        self._datasets = datasets
        self._guard = guard
        self._cursors = cursors

    async def list_datasets(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_FILES)
        query = read_query(request, ListDatasets)
        binding = ("datasets", principal.namespace)
        after = "" if query.cursor is None else self._cursors.open(query.cursor, *binding).decode()
        found = await self._datasets.list_page(principal.namespace, after=after, limit=query.limit + 1)
        items = found[: query.limit]
        cursor = self._cursors.seal(items[-1].name.encode(), *binding) if len(found) > len(items) else None
        page = DatasetPageView([view_of_dataset(dataset) for dataset in items], cursor)
        return Answer(200, _encode(page), link_headers(request, cursor)).response()

    async def get_dataset(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_FILES)
        read_query(request, NoQuery)
        dataset = await self._datasets.get(principal.namespace, request.path_params["name"])
        return Answer(200, _encode(view_of_dataset(dataset))).response()

    async def delete(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_FILES)
        read_query(request, NoQuery)
        await self._datasets.delete(principal.namespace, request.path_params["name"])
        return Response(status_code=204)

    async def list_rows(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_FILES)
        query = read_query(request, ListDatasets)
        name = request.path_params["name"]
        binding = ("rows", principal.namespace, name)
        after = "" if query.cursor is None else self._cursors.open(query.cursor, *binding).decode()
        dataset, found = await self._datasets.list_rows(principal.namespace, name, after=after, limit=query.limit + 1)
        items = []
        size_bytes = 0
        for row in found[: query.limit]:
            items.append(view_of_row(row))
            size_bytes += len(row.row)
            if size_bytes >= MAX_PAGE_BYTES:
                break
        cursor = self._cursors.seal(items[-1].key.encode(), *binding) if len(found) > len(items) else None
        page = RowPageView(dataset.version, items, cursor)
        return Answer(200, _encode(page), link_headers(request, cursor)).response()


# What OpenAPI says ---------------------------------------------------------------------------------------------------

_EXAMPLE: Mapping[str, Any] = {
    "name": "holidays",
    "url": "https://calendar.example/holidays.ics",
    "version": 3,
    "rows": 12,
    "createdAt": "2026-11-23T09:30:00Z",
    "syncedAt": "2026-11-24T09:30:00.5Z",
    "changedAt": "2026-11-23T18:30:00.5Z",
}
_NAME = {"name": "Of the dataset."}
_NO_DATASET = "No such dataset in the key's namespace."


def operations(endpoints: DatasetEndpoints) -> Iterator[Operation]:
    """Yield the routes."""

    def route(method: str, path: str, handler: Any, *, scope: str = "files:read", **said: Any) -> Operation:
        return Operation(method, PREFIX + path, handler, tag="datasets", scope=scope, **said)

    yield route(
        "GET",
        "/datasets",
        endpoints.list_datasets,
        name="listDatasets",
        summary="List datasets",
        description="Those that jobs of the kind `sync` keep, by name.",
        query=ListDatasets,
        answers={200: operation.Answer("A page.", DatasetPageView, {"items": [_EXAMPLE], "nextCursor": None}, LINK)},
    )
    yield route(
        "GET",
        "/datasets/{name}",
        endpoints.get_dataset,
        name="getDataset",
        summary="Look at a dataset",
        query=NoQuery,
        path_parameters=_NAME,
        answers={200: operation.Answer("The dataset, without its rows.", DatasetView, _EXAMPLE)},
        problems={404: _NO_DATASET},
    )
    yield route(
        "GET",
        "/datasets/{name}/rows",
        endpoints.list_rows,
        name="listDatasetRows",
        summary="Read a dataset's rows",
        description="By key. `version` tells whether two pages are of the same state.",
        query=ListDatasets,
        path_parameters=_NAME,
        answers={200: operation.Answer("A page.", RowPageView, headers=LINK)},
        problems={404: _NO_DATASET},
    )
    yield route(
        "DELETE",
        "/datasets/{name}",
        endpoints.delete,
        name="deleteDataset",
        summary="Delete a dataset",
        description="With its rows, at once and for good. A job of the kind `sync` that runs for it meanwhile fails; "
        "one that starts afterwards makes the dataset anew.",
        query=NoQuery,
        path_parameters=_NAME,
        answers={204: operation.Answer("Deleted.", None, media_type="")},
        problems={404: _NO_DATASET},
        scope="files:write",
    )
