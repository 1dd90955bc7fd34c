"""
Tokens: a claim as its worker carries it, opaque and signed.

A worker over HTTP brings back what it was given, so that ending a job costs no look-up; the MAC says that it is as we
wrote it. What fences the attempt is still the lease in the database: a token says which claim is meant, not that it
stands.
"""

import time
from dataclasses import dataclass
from uuid import UUID

import msgspec

from taskflow.engine.job import Claim
from taskflow.http.seal import Seal
from taskflow.http.secret import RootSecret

MAX_TOKEN_LENGTH = 1000


class _Claim(Claim, array_like=True, frozen=True, gc=False):
    """A claim, written as the array of its fields."""


class _Content(msgspec.Struct, array_like=True, frozen=True, gc=False):
    claimed_ms: int  # by the clock of the machine that claimed
    claim: _Claim


_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_decode = msgspec.msgpack.Decoder(_Content).decode


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a token says: the claim (without payload and headers), and about how long ago it was made."""

    claim: Claim
    age_s: float


class Tokens:
    """Makes and opens tokens; one is good in its own namespace only."""

    def __init__(self, secret: RootSecret) -> None:
        self._seal = Seal(secret.derive("worker tokens v1"))

    def seal(self, claim: Claim) -> str:
        bare = msgspec.structs.replace(claim, payload="", headers={})
        return self._seal.write(_encode(_Content(int(time.time() * 1000), _Claim(*msgspec.structs.astuple(bare)))))

    def open(self, token: str, namespace: UUID) -> Ticket | None:
        """Return what *token* says; None if it is broken, forged, or of another namespace."""
        content = self._seal.read(token) if len(token) <= MAX_TOKEN_LENGTH else None
        if content is None:
            return None
        try:
            opened = _decode(content)
        except msgspec.MsgspecError:  # ours, but of a version that wrote claims in another way
            return None
        if opened.claim.namespace != namespace:
            return None
        return Ticket(opened.claim, max(0.0, time.time() - opened.claimed_ms / 1000))
