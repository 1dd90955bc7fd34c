"""Find where one request ends and the next begins."""

HEAD_LIMIT = 16_384  # bytes


def split_request(buffer: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Return the head (without the empty line), the body and the rest, or None if more bytes are needed."""
    head, separator, after = buffer.partition(b"\r\n\r\n")
    if len(head) > HEAD_LIMIT:
        raise ValueError(f"a head may have {HEAD_LIMIT} bytes")
    if not separator:
        return None
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if len(after) < length:
        return None
    return head, after[:length], after[length:]
