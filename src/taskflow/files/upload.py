"""
Reading an upload: `multipart/form-data` (RFC 7578) with one part `file` and a few short fields, taken as it comes.

The file's bytes go into the spool; nothing else is kept of the body. Whatever is wrong with it is said with 4xx, and
the spool goes with the request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from taskflow.files.spool import MAX_FILE_BYTES, Spool
from taskflow.http.problem import BodyTimeout, WrongMediaType
from taskflow.kernel.errors import DomainError, FieldError, Invalid, TooLarge

IDLE_TIMEOUT_S = 30.0  # between two pieces of the body
UPLOAD_TIMEOUT_S = 30 * 60.0
MAX_PARTS = 10
MAX_FIELD_BYTES = 1024
MAX_OVERHEAD_BYTES = 1024 * 1024  # of boundaries, headers and fields
MAX_UPLOAD_BYTES = MAX_FILE_BYTES + MAX_OVERHEAD_BYTES
FILE_FIELD = "file"

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class NotMultipart(DomainError):
    """The body is not a whole multipart/form-data body."""

    status = 400
    code = "not_multipart"


class Upload:
    """
    One upload, read by `read`.

    Args:
        spool: takes the file's content.

    Attributes:
        name: the file's name as sent; None until there is a file.
        fields: the other parts.
    """

    def __init__(self, headers: Mapping[str, str], spool: Spool) -> None:
        self.name: str | None = None
        self.fields: dict[str, str] = {}
        self._spool = spool
        self._waiting: list[memoryview] = []  # of the file, parsed and not yet written
        self._part = ""
        self._parts = 0
        self._is_file = False
        self._header = bytearray()
        self._value = bytearray()
        self._text = bytearray()
        self._disposition = b""
        self._ended = False
        self._parser = MultipartParser(
            _boundary(headers),
            {
                "on_part_begin": self._begin_part,
                "on_part_data": self._take_data,
                "on_part_end": self._end_part,
                "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_end": self._end,
            },
        )

    async def read(self, receive: Receive) -> None:
        """
        Read the body to its end; the spool is finished then.

        Raises:
            NotMultipart: also when the client left.
            TooLarge, Invalid: naming the part.
            BodyTimeout: nothing came for `IDLE_TIMEOUT_S`, or not all of it within `UPLOAD_TIMEOUT_S`.
        """
        try:
            async with asyncio.timeout(UPLOAD_TIMEOUT_S):
                more = True
                while more:
                    async with asyncio.timeout(IDLE_TIMEOUT_S):
                        message = await receive()
                    if message["type"] != "http.request":
                        raise NotMultipart("the client left before the body had ended")
                    await self._take(message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError:
            limits = f"{IDLE_TIMEOUT_S:g} s without a byte, {UPLOAD_TIMEOUT_S:g} s in all"
            raise BodyTimeout(f"the upload came too slowly; limits are {limits}") from None
        if not self._ended:
            raise NotMultipart("the body ended before its last boundary")
        if self.name is None:
            detail = f"is required: send the file as the part {FILE_FIELD!r}, with a file name"
            raise Invalid("the upload has no file", errors=[FieldError(f"/{FILE_FIELD}", "required", detail)])
        await self._spool.finish()

    async def _take(self, body: bytes) -> None:
        try:
            if body:
                self._parser.write(body)
        except MultipartParseError as error:
            raise NotMultipart(f"the body is not multipart/form-data: {error}") from None
        for piece in self._waiting:
            await self._spool.write(piece)
        self._waiting.clear()

    # What the parser tells -------------------------------------------------------------------------------------------

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Invalid(
                "the upload has invalid fields", errors=[FieldError("", "too_many", f"over {MAX_PARTS} parts")]
            )
        self._disposition = b""
        self._text.clear()

    def _end_header(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise NotMultipart("a part has no 'Content-Disposition: form-data; name=…'")
        self._part = _decoded(name)
        self._is_file = self._part == FILE_FIELD
        known = self.fields.keys() | ({FILE_FIELD} if self.name is not None else set())
        if self._part in known:
            raise _wrong(self._part, "given_twice", "is given more than once")
        if self._is_file:
            if b"filename" not in options:
                raise _wrong(self._part, "wrong_type", "must be a file, sent with a file name")
            self.name = _decoded(options[b"filename"])
        elif b"filename" in options:
            raise _wrong(self._part, "unknown_field", f"is not where a file goes: send it as the part {FILE_FIELD!r}")

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._waiting.append(memoryview(data)[start:end])
        else:
            self._text += data[start:end]
            if len(self._text) > MAX_FIELD_BYTES:
                raise TooLarge(f"the field {self._part[:100]!r} is over the limit of {MAX_FIELD_BYTES} bytes")

    def _end_part(self) -> None:
        if not self._is_file:
            self.fields[self._part] = _decoded(bytes(self._text))

    def _end(self) -> None:
        self._ended = True


def _boundary(headers: Mapping[str, str]) -> bytes:
    given = headers.get("content-type", "")
    kind, options = parse_options_header(given)
    if kind != b"multipart/form-data":
        raise WrongMediaType(f"send the file with 'Content-Type: multipart/form-data', got {given[:100]!r}")
    if (encoding := headers.get("content-encoding", "identity")) != "identity":
        raise WrongMediaType(f"send the body uncompressed, got 'Content-Encoding: {encoding[:100]}'")
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 70:
        raise NotMultipart("the Content-Type names no boundary of 1 to 70 characters")
    return boundary


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _wrong(name: str, code: str, detail: str) -> Invalid:
    return Invalid("the upload has invalid fields", errors=[FieldError(f"/{name[:100]}", code, detail)])
