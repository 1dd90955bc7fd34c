"""The guard of HTTP routes: who asks, do they ask too often, and may they."""

from starlette.requests import Request

from taskflow.http.call import Call
from taskflow.http.limits import RateLimits, address_of
from taskflow.identity.access import Access, Permission, Principal
from taskflow.kernel.errors import Unauthenticated


class Guard:
    """Lets requests in."""

    def __init__(self, access: Access, limits: RateLimits) -> None:
        self._access = access
        self._limits = limits

    async def admit(self, request: Request, permission: Permission) -> Principal:
        """
        Return who asks. The request counts towards the key's rate limit, also when the key may not do that.

        Raises:
            Unauthenticated, NotPermitted: no valid key; one that may not do that.
            RateLimited: too many requests of this key, or without a valid one from this address.
        """
        call = Call.of(request.scope)
        principal = self._access.recall(call.headers)
        if principal is None:
            principal = await self._meet(request, call)
        call.principal = str(principal.id)
        self._limits.take(call, call.principal)
        principal.require(permission)
        return principal

    async def check_again(self, request: Request, permission: Permission) -> None:
        """Raise as `admit` does if the key is no longer good; for a request under way, which has been counted."""
        principal = await self._access.authenticate(Call.of(request.scope).headers)
        principal.require(permission)

    async def _meet(self, request: Request, call: Call) -> Principal:
        """
        Look the key up. What fails counts towards the limit of its address, in advance, so that no crowd slips through
        while it is looked up. A key that was good a moment ago is no stranger: what others send from the same address
        (a proxy's, say) does not keep it out.
        """
        if self._access.has_met(call.headers):
            return await self._access.authenticate(call.headers)
        address = address_of(request.client.host if request.client else "")
        self._limits.take_failure(call, address)
        try:
            principal = await self._access.authenticate(call.headers)
        except Unauthenticated:
            raise
        except BaseException:
            self._limits.forgive(address)
            raise
        self._limits.forgive(address)
        return principal
