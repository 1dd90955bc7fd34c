"""The routes of files: bytes in, bytes out; what is kept and for how long is `files.service`."""

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from taskflow.db.query import Connection
from taskflow.files import delivery
from taskflow.files.link import Links
from taskflow.files.repository import File
from taskflow.files.schemas import (
    FORM_SCHEMA,
    FilePageView,
    FileView,
    LinkView,
    ListFiles,
    MakeLink,
    ReadContent,
    read_fields,
    view_of_file,
)
from taskflow.files.service import Files, file_id_of
from taskflow.files.spool import MAX_FILE_BYTES
from taskflow.files.upload import MAX_UPLOAD_BYTES, Upload
from taskflow.http import idempotency, operation
from taskflow.http.body import check_json_type, parse_json, read_body, read_query
from taskflow.http.call import Call
from taskflow.http.fields import NoQuery
from taskflow.http.idempotency import HEADER, Answer, Idempotency
from taskflow.http.limits import LimitName
from taskflow.http.link import LINK, link_headers
from taskflow.http.operation import PREFIX, Operation
from taskflow.http.paging import Cursors
from taskflow.http.places import Places
from taskflow.http.problem import BadHeader, problem_response
from taskflow.http.validation import field_errors
from taskflow.identity.access import Permission
from taskflow.identity.guard import Guard
from taskflow.kernel.errors import FieldError, Invalid, TooLarge

MAX_UPLOADS = 20  # at the same time, in one process: each may fill 100 MiB of disk

_encode = msgspec.json.Encoder().encode


class FileEndpoints:
    """Handlers of the routes that `operations` lists."""

    def __init__(
        self,
        files: Files,
        guard: Guard,
        once: Idempotency,
        cursors: Cursors,
        links: Links,
        *,
        public_url: str | None = None,
    ) -> None:
        self._files = files
        self._guard = guard
        self._once = once
        self._cursors = cursors
        self._links = links
        self._places = Places("uploads are under way", retry_after_s=2.0)
        self._public_url = public_url

    async def upload(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_FILES)
        read_query(request, NoQuery)
        call = Call.of(request.scope)
        call.body_limit = MAX_UPLOAD_BYTES
        key = idempotency.read_key(call.headers)
        _check_length(call.headers)
        self._places.check(principal.namespace, MAX_UPLOADS)
        with self._places.hold(principal.namespace), self._files.spool() as spool:
            upload = Upload(call.headers, spool)
            await upload.read(request.receive)
            fields = read_fields(upload.fields)
            name = upload.name or ""

            async def write(connection: Connection | None) -> Answer:
                file = await self._files.keep(
                    spool,
                    namespace=principal.namespace,
                    name=name,
                    expires_at=fields.expiresAt,
                    retention=fields.retention,
                    connection=connection,
                )
                location = {"Location": f"{PREFIX}/files/{file.id}"}
                return Answer(201, _encode(view_of_file(file)), location)

            if key is None:
                return (await write(None)).response()
            asked = idempotency.Request(
                principal_id=principal.id,
                namespace=principal.namespace,
                route=f"POST {call.route}",
                key=key,
                fingerprint=idempotency.fingerprint(
                    spool.sha256, name.encode(), _encode(dict(sorted(upload.fields.items())))
                ),
            )
            async with self._files.writing():
                answer, replayed = await self._once.once(asked, write)
            return answer.response(replayed=replayed)

    async def list_files(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_FILES)
        query = read_query(request, ListFiles)
        binding = ("files", principal.namespace)
        before = None if query.cursor is None else UUID(bytes=self._cursors.open(query.cursor, *binding))
        files = await self._files.list_files(principal.namespace, before=before, limit=query.limit + 1)
        more, files = len(files) > query.limit, files[: query.limit]
        cursor = self._cursors.seal(files[-1].id.bytes, *binding) if more else None
        page = FilePageView([view_of_file(file) for file in files], cursor)
        return Answer(200, _encode(page), link_headers(request, cursor)).response()

    async def get_file(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_FILES)
        read_query(request, NoQuery)
        file = await self._files.get_file(_file_id(request), namespace=principal.namespace)
        return Answer(200, _encode(view_of_file(file))).response()

    async def read_content(self, request: Request) -> Response:
        call = Call.of(request.scope)
        file = await self._find_readable(request)
        headers = {
            "ETag": delivery.etag(file),
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache",  # may be kept, and is asked after each time: keys and links end
            "Content-Disposition": delivery.disposition(file.name),
        }
        if delivery.is_known(file, call.headers):
            return Response(status_code=304, headers=headers)
        try:
            asked = delivery.find_range(file, call.headers)
        except delivery.RangeNotSatisfiable as error:
            headers = {"Content-Range": f"bytes */{file.size}"}
            return problem_response(error, call, path=request.url.path, headers=headers)
        start, end = asked or (0, file.size - 1)
        length = end - start + 1
        headers["Content-Length"] = str(length)
        if asked is not None:
            headers["Content-Range"] = f"bytes {start}-{end}/{file.size}"
        content = _nothing() if call.is_head else self._files.open(file, start=start, length=length)
        return StreamingResponse(
            content, status_code=200 if asked is None else 206, headers=headers, media_type=_media_type(file)
        )

    async def make_link(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.READ_FILES)
        read_query(request, NoQuery)
        headers = Call.of(request.scope).headers
        if "idempotency-key" in headers:
            detail = "is not taken here: the answer opens a file and is not kept"
            raise BadHeader(
                f"{HEADER} {detail}", code="bad_idempotency_key", errors=[FieldError(HEADER, "bad", detail)]
            )
        body = await read_body(request)
        data: Any = {}
        if body:
            check_json_type(headers)
            data = parse_json(body)
        try:
            asked = MakeLink.model_validate(data)
        except ValidationError as error:
            raise Invalid("the link has invalid fields", errors=field_errors(error)) from None
        file = await self._files.get_file(_file_id(request), namespace=principal.namespace)
        expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(milliseconds=asked.expiresIn)
        if file.expires_at is not None:
            expires_at = min(expires_at, file.expires_at)
        query = urlencode(self._links.sign(file.id, expires_at))
        origin = self._public_url or f"{request.url.scheme}://{request.url.netloc}"
        url = f"{origin}{PREFIX}/files/{file.id}/content?{query}"
        return Answer(200, _encode(LinkView(url, expires_at.replace(microsecond=0)))).response()

    async def delete(self, request: Request) -> Response:
        principal = await self._guard.admit(request, Permission.WRITE_FILES)
        read_query(request, NoQuery)
        await self._files.delete(_file_id(request), namespace=principal.namespace)
        return Response(status_code=204)

    async def _find_readable(self, request: Request) -> File:
        """Return the file that this request may read: by its key, or by the link that it is."""
        if not request.scope["query_string"]:
            principal = await self._guard.admit(request, Permission.READ_FILES)
            return await self._files.get_file(_file_id(request), namespace=principal.namespace)
        query = read_query(request, ReadContent)
        file_id = _file_id(request)
        self._links.check(file_id, expires=query.expires, signature=query.signature)
        return await self._files.get_file(file_id, namespace=None)


def _file_id(request: Request) -> UUID:
    return file_id_of(request.path_params["fileId"])


def _check_length(headers: Mapping[str, str]) -> None:
    """Refuse what says itself that it is too long before any of it is read."""
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > MAX_UPLOAD_BYTES:
        raise TooLarge(f"the file is over the limit of {MAX_FILE_BYTES} bytes", code="file_too_large")


def _media_type(file: File) -> str:
    return f"{file.type}; charset=utf-8" if file.type.startswith("text/") else file.type


async def _nothing() -> AsyncIterator[bytes]:
    for piece in list[bytes]():
        yield piece


# What OpenAPI says ---------------------------------------------------------------------------------------------------

_EXAMPLE_ID = "019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e12"
_EXAMPLE_FILE: Mapping[str, Any] = {
    "id": _EXAMPLE_ID,
    "name": "photo.jpg",
    "size": 183421,
    "type": "image/jpeg",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "jobId": None,
    "createdAt": "2026-11-23T09:30:00.123456Z",
    "expiresAt": None,
}
_FILE_ID = {"fileId": "Of the file."}
_NO_FILE = "No such file in the key's namespace."
_CONTENT_HEADERS = {
    "ETag": "The content's hash; send it in `If-None-Match`.",
    "Content-Disposition": "`attachment`, with the file's name.",
}


def operations(endpoints: FileEndpoints) -> Iterator[Operation]:
    """Yield the routes."""

    def route(method: str, path: str, handler: Any, **said: Any) -> Operation:
        return Operation(method, PREFIX + path, handler, tag="files", **said)

    yield route(
        "POST",
        "/files",
        endpoints.upload,
        name="uploadFile",
        summary="Upload a file",
        description="Streamed as `multipart/form-data`; at most 100 MiB. Answered when it is stored for good; an "
        "upload that breaks off leaves nothing.",
        form=FORM_SCHEMA,
        query=NoQuery,
        answers={
            201: operation.Answer(
                "The file, stored.", FileView, _EXAMPLE_FILE, {"Location": "Where the file is from now on."}
            )
        },
        problems={503: "Too many uploads are under way."},
        scope="files:write",
        once=True,
        limit=LimitName.STREAM,
    )
    yield route(
        "GET",
        "/files",
        endpoints.list_files,
        name="listFiles",
        summary="List files",
        description="Newest first.",
        query=ListFiles,
        answers={
            200: operation.Answer(
                "A page.",
                FilePageView,
                {"items": [_EXAMPLE_FILE], "nextCursor": None},
                LINK,
            )
        },
        scope="files:read",
    )
    yield route(
        "GET",
        "/files/{fileId}",
        endpoints.get_file,
        name="getFile",
        summary="Look at a file",
        query=NoQuery,
        path_parameters=_FILE_ID,
        answers={200: operation.Answer("What is known of it.", FileView, _EXAMPLE_FILE)},
        problems={404: _NO_FILE},
        scope="files:read",
    )
    yield route(
        "GET",
        "/files/{fileId}/content",
        endpoints.read_content,
        name="readFile",
        summary="Download a file",
        description="Takes `Range` (one range of bytes), `If-Range` and `If-None-Match`. A signed link needs no key.",
        query=ReadContent,
        path_parameters=_FILE_ID,
        answers={
            200: operation.Answer("The content.", None, headers=_CONTENT_HEADERS, media_type="*/*"),
            206: operation.Answer(
                "The part that was asked for.",
                None,
                headers={**_CONTENT_HEADERS, "Content-Range": "Which part it is, and of how much."},
                media_type="*/*",
            ),
            304: operation.Answer("The client has it already.", None, headers=_CONTENT_HEADERS, media_type=""),
        },
        problems={
            403: "The link is not valid, or has expired.",
            404: _NO_FILE,
            416: "The range is not in the file.",
        },
        scope="files:read",
        limit=LimitName.STREAM,
    )
    yield route(
        "POST",
        "/files/{fileId}/link",
        endpoints.make_link,
        name="linkFile",
        summary="Make a signed link",
        description="Whoever has it may download the file until it expires. The body may be left out: five minutes.",
        body=MakeLink,
        body_examples={"hour": {"expiresIn": 3600000}},
        query=NoQuery,
        path_parameters=_FILE_ID,
        answers={
            200: operation.Answer(
                "The link.",
                LinkView,
                {
                    "url": f"http://127.0.0.1:3000/api/v1/files/{_EXAMPLE_ID}/content?expires=1795512600&signature=8m…",
                    "expiresAt": "2026-11-23T09:35:00Z",
                },
            )
        },
        problems={404: _NO_FILE},
        scope="files:read",
    )
    yield route(
        "DELETE",
        "/files/{fileId}",
        endpoints.delete,
        name="deleteFile",
        summary="Delete a file",
        description="At once and for good; its links end with it.",
        query=NoQuery,
        path_parameters=_FILE_ID,
        answers={204: operation.Answer("Deleted.", None, media_type="")},
        problems={404: _NO_FILE},
        scope="files:write",
    )
