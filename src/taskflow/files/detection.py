"""
What type a file is of, told by its first bytes and never by its name: a name is the sender's word.

A type that is not known here is `application/octet-stream`; text of no known form is `text/plain`.
"""

import codecs
import csv
import io

import msgspec

OCTETS = "application/octet-stream"

# (offset, bytes, type): the first that fits counts.
_MAGIC = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),  # RIFF….WEBP
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypavis", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypheix", "image/heic"),
    (4, b"ftypmif1", "image/heif"),
    (4, b"ftypM4A ", "audio/mp4"),
    (4, b"ftypqt  ", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"\x00\x00\x01\x00", "image/vnd.microsoft.icon"),
    (0, b"8BPS", "image/vnd.adobe.photoshop"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"(\xb5/\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"OggS", "application/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"\x7fELF", "application/x-elf"),
    (0, b"MZ", "application/vnd.microsoft.portable-executable"),
    (0, b"\x00asm", "application/wasm"),
)
_RIFF = {"image/webp", "audio/wav", "video/x-msvideo"}
_OFFICE = "application/vnd.openxmlformats-officedocument"
_ZIPPED = (  # names of first entries
    (b"word/", f"{_OFFICE}.wordprocessingml.document"),
    (b"xl/", f"{_OFFICE}.spreadsheetml.sheet"),
    (b"ppt/", f"{_OFFICE}.presentationml.presentation"),
    (b"mimetypeapplication/epub+zip", "application/epub+zip"),
    (b"mimetypeapplication/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
    (b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "application/vnd.oasis.opendocument.spreadsheet"),
)
_TEXT_CONTROLS = frozenset("\t\n\r\f\x1b")
_CSV_LINES = 20


def media_type(head: bytes, *, whole: bool) -> str:
    """
    Return the type of what begins with *head*.

    Args:
        whole: nothing comes after *head*.
    """
    for offset, magic, found in _MAGIC:
        if head.startswith(magic, offset) and (found not in _RIFF or head.startswith(b"RIFF")):
            return found
    if head.startswith(b"PK\x03\x04"):
        return next((found for entry, found in _ZIPPED if entry in head), "application/zip")
    text = _text(head, whole=whole)
    return OCTETS if text is None else _type_of_text(text, whole=whole)


def _text(head: bytes, *, whole: bool) -> str | None:
    """Return *head* as text, if it is UTF-8 without characters that no text has."""
    if not head:
        return None
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head, final=whole)
    except UnicodeDecodeError:
        return None
    if any(char < " " and char not in _TEXT_CONTROLS for char in text):
        return None
    return text


def _type_of_text(text: str, *, whole: bool) -> str:
    begin = text.lstrip()[:1000].lower()
    if begin.startswith(("<!doctype html", "<html")):
        return "text/html"
    if begin.startswith("<svg") or (begin.startswith(("<?xml", "<!doctype svg")) and "<svg" in begin):
        return "image/svg+xml"
    if begin.startswith("<?xml"):
        return "application/xml"
    if begin.startswith("begin:vcalendar"):
        return "text/calendar"
    if begin.startswith("begin:vcard"):
        return "text/vcard"
    if begin.startswith(("{", "[")) and _is_json(text, whole=whole):
        return "application/json"
    lines = text.splitlines()
    lines = lines[:_CSV_LINES] if whole else lines[: min(_CSV_LINES, len(lines) - 1)]
    if len(lines) > 1 and begin.startswith("{") and all(_is_json(line, whole=True) for line in lines if line.strip()):
        return "application/x-ndjson"
    return "text/csv" if _is_csv(lines) else "text/plain"


def _is_json(text: str, *, whole: bool) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return not whole and "truncated" in str(error)  # it is right as far as it can be seen
    except RecursionError:
        return False
    return True


def _is_csv(lines: list[str]) -> bool:
    """Say whether all lines have the same number of fields, and more than one."""
    try:
        widths = {len(row) for row in csv.reader(io.StringIO("\n".join(lines)), strict=True) if row}
    except csv.Error:
        return False
    return len(lines) > 1 and len(widths) == 1 and widths.pop() > 1
