"""
Access: who asks (`Principal`), what they may do (`Permission`), and the seam through which every transport finds out.

Scopes are what keys carry, permissions are what routes ask for, and `PERMISSIONS` is the one table between them.
Roles of users will be further rows of the same table. What belongs to another namespace does not exist for the caller
(404); what their own namespace has and their key may not do is 403.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from taskflow.kernel.errors import NotPermitted, Unauthenticated


class Permission(StrEnum):
    """One thing that a route may ask for."""

    READ_JOBS = "read_jobs"
    WRITE_JOBS = "write_jobs"
    WORK = "work"  # claim and end jobs, over HTTP
    READ_SECRETS = "read_secrets"  # what proves to others that we are who we say
    READ_FILES = "read_files"
    WRITE_FILES = "write_files"
    OPERATE = "operate"  # deployment-wide: metrics, workers, queues


PERMISSIONS: Mapping[str, frozenset[Permission]] = {
    "jobs:read": frozenset({Permission.READ_JOBS}),
    "jobs:write": frozenset({Permission.WRITE_JOBS}),
    "files:read": frozenset({Permission.READ_FILES}),
    "files:write": frozenset({Permission.WRITE_FILES}),
    "worker": frozenset({Permission.WORK}),
    "owner": frozenset(Permission) - {Permission.OPERATE},
    "operator": frozenset({Permission.OPERATE}),
}
SCOPES = frozenset(PERMISSIONS)


@dataclass(frozen=True, slots=True)
class Principal:
    """
    Who acts: an API key, later also a user.

    Args:
        id: of the key; what idempotency keys and log lines are bound to.
        namespace: the only one whose jobs this principal sees.
    """

    id: UUID
    namespace: UUID
    name: str
    permissions: frozenset[Permission]

    def require(self, permission: Permission) -> None:
        """Raise NotPermitted, naming the scopes that would do, unless this principal may."""
        if permission not in self.permissions:
            scopes = " or ".join(repr(scope) for scope, given in PERMISSIONS.items() if permission in given)
            raise NotPermitted(f"this key may not do that: it needs the scope {scopes}")


def permissions_of(scopes: list[str]) -> frozenset[Permission]:
    """Return what *scopes* allow together; a scope that this version does not know allows nothing."""
    return frozenset().union(*(PERMISSIONS.get(scope, frozenset()) for scope in scopes))


class Authenticator(Protocol):
    """Turns a credential into a principal."""

    async def authenticate(self, token: str) -> Principal | None:
        """Return whose *token* this is, or None."""
        ...

    def recall(self, token: str) -> Principal | None:
        """Return whose *token* this is as far as is known without asking anybody; None says nothing."""
        ...

    def has_met(self, token: str) -> bool:
        """Say whether *token* was good when it was last looked up, as far as is remembered."""
        ...


class Access:
    """The seam: finds the credential in a request's headers and asks who it belongs to."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def authenticate(self, headers: Mapping[str, str]) -> Principal:
        """
        Return who asks, by `Authorization: Bearer tf_…` or `X-API-Key: tf_…`.

        Raises:
            Unauthenticated: no credential, two different ones, or one that is unknown, expired or revoked; which of
                the three is not told.
        """
        token = _token(headers)
        principal = await self._authenticator.authenticate(token)
        if principal is None:
            raise Unauthenticated("the API key is not valid: unknown, expired or revoked", code="invalid_key")
        return principal

    def recall(self, headers: Mapping[str, str]) -> Principal | None:
        """Return who asks if that is known without a query; otherwise None, and `authenticate` finds out."""
        try:
            return self._authenticator.recall(_token(headers))
        except Unauthenticated:
            return None

    def has_met(self, headers: Mapping[str, str]) -> bool:
        """Say whether the credential was good when it was last looked up."""
        try:
            return self._authenticator.has_met(_token(headers))
        except Unauthenticated:
            return False


def _token(headers: Mapping[str, str]) -> str:
    api_key = headers.get("x-api-key")
    authorization = headers.get("authorization")
    if authorization is None:
        if api_key is None:
            raise Unauthenticated("send an API key as 'Authorization: Bearer tf_…' or 'X-API-Key: tf_…'")
        return api_key
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("the Authorization header must be 'Bearer tf_…'")
    if api_key is not None and api_key != token:
        raise Unauthenticated("Authorization and X-API-Key hold different keys; send one")
    return token
