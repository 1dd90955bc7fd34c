r"""
Find where one request ends and the next begins.

`buffer` holds what has arrived so far: part of a request, exactly one, or several. A head ends with an empty line
(b"\r\n\r\n"). If it has a Content-Length, so many bytes of body follow.

Return the first request as (head, body, rest), where rest is what belongs to the requests after it, or None if the
first one has not arrived completely. A buffer whose head is over 16,384 bytes raises ValueError: a server that waits
for ever for the end of a head can be filled up by one client.
"""

HEAD_LIMIT = 16_384  # bytes


def split_request(buffer: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Return the head (without the empty line), the body and the rest, or None if more bytes are needed."""
    return buffer, b"", b""
