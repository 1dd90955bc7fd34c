"""
Signed links: whoever has one may read one file until it expires, without a key.

The signature is a MAC by a key of its own, derived from the root secret, over the file's id and the instant. A file
that is deleted takes its links with it; nothing else ends one early, so they are short-lived.
"""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from uuid import UUID

from taskflow.http.secret import RootSecret
from taskflow.kernel.errors import NotPermitted

DEFAULT_LIFETIME_S = 300
MAX_LIFETIME_S = 24 * 3600


class Links:
    """Signs links and checks them."""

    def __init__(self, secret: RootSecret) -> None:
        self._key = secret.derive("file links v1")

    def sign(self, file_id: UUID, expires_at: datetime) -> dict[str, str]:
        """Return the query parameters of a link; *expires_at* counts in whole seconds."""
        expires = str(int(expires_at.timestamp()))
        return {"expires": expires, "signature": self._signature(file_id, expires)}

    def check(self, file_id: UUID, *, expires: str | None, signature: str | None, now: datetime | None = None) -> None:
        """Raise NotPermitted unless these are the parameters of a link to *file_id* that has not expired."""
        expires, signature = expires or "", signature or ""
        if not hmac.compare_digest(signature.encode(), self._signature(file_id, expires).encode()):
            raise NotPermitted("this link is not valid for this file", code="bad_link")
        if int(expires) <= (now or datetime.now(UTC)).timestamp():
            raise NotPermitted("this link has expired", code="link_expired")

    def _signature(self, file_id: UUID, expires: str) -> str:
        digest = hmac.digest(self._key, file_id.bytes + expires.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
