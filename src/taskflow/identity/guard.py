"""The guard of HTTP routes: who asks, and may they."""

from starlette.requests import Request

from taskflow.http.call import Call
from taskflow.identity.access import Access, Permission, Principal


class Guard:
    """Lets requests in."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def admit(self, request: Request, permission: Permission) -> Principal:
        """Return who asks. Raises Unauthenticated or NotPermitted."""
        call = Call.of(request.scope)
        principal = await self._access.authenticate(call.headers)
        call.principal = str(principal.id)
        principal.require(permission)
        return principal
