"""
Every way a request can be refused, in one table.

The domain raises a `Refusal` with a code; only this table knows which HTTP status the code has. So a heap or a store
never hears of HTTP, and two places can never disagree about what "not found" looks like on the wire.
"""

from collections.abc import Mapping
from enum import Enum

JSONValue = None | bool | int | float | str | list["JSONValue"] | Mapping[str, "JSONValue"]


class Code(Enum):
    """A code for programs, and the HTTP status it travels with. The message beside it is for people."""

    BAD_REQUEST = "BAD_REQUEST", 400
    INVALID_JSON = "INVALID_JSON", 400
    UNAUTHORIZED = "UNAUTHORIZED", 401
    INVALID_TOKEN = "INVALID_TOKEN", 401
    FORBIDDEN = "FORBIDDEN", 403
    INSUFFICIENT_PERMISSIONS = "INSUFFICIENT_PERMISSIONS", 403
    NOT_FOUND = "NOT_FOUND", 404
    TASK_NOT_FOUND = "TASK_NOT_FOUND", 404
    REQUEST_TIMEOUT = "REQUEST_TIMEOUT", 408
    CONFLICT = "CONFLICT", 409
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE", 413
    URI_TOO_LONG = "URI_TOO_LONG", 414
    EXPECTATION_FAILED = "EXPECTATION_FAILED", 417
    VALIDATION_ERROR = "VALIDATION_ERROR", 422
    MISSING_REQUIRED_FIELD = "MISSING_REQUIRED_FIELD", 422
    UNPROCESSABLE_ENTITY = "UNPROCESSABLE_ENTITY", 422
    HEADERS_TOO_LARGE = "HEADERS_TOO_LARGE", 431
    INTERNAL_ERROR = "INTERNAL_ERROR", 500
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED", 501
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE", 503
    VERSION_NOT_SUPPORTED = "VERSION_NOT_SUPPORTED", 505

    @property
    def status(self) -> int:
        return self.value[1]


class Refusal(Exception):
    """
    The request cannot be carried out, and the caller is told why.

    Args:
        details: facts for programs, such as the field and its limit; must be JSON.
        status: only where the code's own status is not meant, as in 405.
        headers: what the status obliges us to add, such as `Allow`.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        details: Mapping[str, JSONValue] | None = None,
        *,
        status: int | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.status = status or code.status
        self.headers = headers


class SettingsError(Exception):
    """The server cannot start; the message says which setting to change."""
