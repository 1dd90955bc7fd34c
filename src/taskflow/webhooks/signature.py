"""
Standard Webhooks (github.com/standard-webhooks/standard-webhooks): three headers, by which a receiver knows who calls.

    webhook-id         stays the same however often a delivery is made: receivers drop what they have seen
    webhook-timestamp  seconds, of this attempt: receivers refuse what is older than a few minutes
    webhook-signature  `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`

Every namespace has a secret of its own, derived from the root secret: nothing is stored that could leak from a backup.
"""

import base64
import hashlib
import hmac
from uuid import UUID

from taskflow.http.secret import RootSecret

PREFIX = "whsec_"
SECRET_BYTES = 32


def signing_secret(root: RootSecret, namespace: UUID) -> str:
    """Return the secret of *namespace* as libraries of Standard Webhooks take it."""
    key = root.derive(f"webhook signatures v1 {namespace}", SECRET_BYTES)
    return PREFIX + base64.b64encode(key).decode()


def message_id(delivery_id: UUID) -> str:
    return f"msg_{delivery_id}"


def sign(secret: str, delivery_id: UUID, at_s: int, body: bytes) -> dict[str, str]:
    """Return the headers of one attempt, made *at_s* seconds after 1970."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id(delivery_id)}.{at_s}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "webhook-id": message_id(delivery_id),
        "webhook-timestamp": str(at_s),
        "webhook-signature": f"v1,{signature}",
    }
