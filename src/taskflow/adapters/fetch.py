"""
The one HTTP client for URLs that somebody else named: callbacks, and what `sync` reads.

    parse ──> resolve once ──> check every address ──> connect to a checked one, by number ──> bounded answer
                                                       (Host and TLS name are the URL's)

Nothing is followed unasked: no proxy from the environment, no cookies, no redirects unless a few are allowed, and each
of those starts again at "parse". Connections are not kept: a kept one is known by its address alone, and the next host
behind the same address would inherit a certificate check that was not its own.

A time limit is for everything together, so a receiver that drips a byte a second ends like one that says nothing.

The system's resolver cannot be interrupted, and has the threads that everything else in the process has: a name whose
servers are silent holds one for half a minute. So few look-ups run at a time, a call waits for its turn within its own
limit, and a turn ends when the look-up does, not when its caller gives up.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TypeAlias
from urllib.parse import urljoin

import httpx

from taskflow.adapters.address import Address, Refused, Target, check_addresses, parse_url
from taskflow.kernel.errors import ExternalError

USER_AGENT = "TaskFlow"
MAX_ADDRESSES = 3  # of one name that are tried when a connection fails
CONNECT_TIMEOUT_S = 5.0
MAX_LOOKUPS = 2  # at the same time, of the (at least five) threads that the process has for such things
EXCERPT_TIMEOUT_S = 1.0  # to read the little that is kept of an answer whose status is known
REDIRECTS = frozenset({301, 302, 303, 307, 308})

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[Address]]]


@dataclass(frozen=True, slots=True)
class Limits:
    """
    What a call may cost.

    Args:
        timeout_s: for all of it: names, connections, redirects, body.
        body_bytes: how much of the body is taken.
        whole: the body must end within *body_bytes*, or the call fails; else the beginning is enough.
        redirects: how many are followed; only for GET.
    """

    timeout_s: float
    body_bytes: int
    whole: bool = False
    redirects: int = 0


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer. *body* is what the limits let in."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    duration_s: float


async def system_resolve(host: str, port: int) -> Sequence[Address]:
    """Ask the system's resolver. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)  # SOCK_STREAM
    return list(dict.fromkeys(ip_address(str(info[4][0]).partition("%")[0]) for info in found))


class Fetcher:
    """
    See the module. Share one.

    Args:
        allow_loopback: for development: this machine may be called too.
        resolve: name and port → addresses.
    """

    def __init__(self, *, allow_loopback: bool, resolve: Resolve = system_resolve) -> None:
        self._allow_loopback = allow_loopback
        self._resolve = resolve
        self._tls: ssl.SSLContext | None = None
        self._turns = asyncio.Semaphore(MAX_LOOKUPS)
        self._lookups: set[asyncio.Future[Sequence[Address]]] = set()

    async def fetch(
        self, method: str, url: str, *, limits: Limits, headers: Mapping[str, str] | None = None, content: bytes = b""
    ) -> Fetched:
        """
        Call *url* and return its answer, whatever its status.

        Raises:
            Refused: the URL, or where it leads, is not for us to call.
            ExternalError: no (whole) answer came within the limits. Messages name the host, never path or query.
        """
        began_s = time.monotonic()
        target = parse_url(url, allow_loopback=self._allow_loopback)
        try:
            async with asyncio.timeout(limits.timeout_s):
                for _ in range(limits.redirects + 1):
                    fetched = await self._fetch_once(method, target, headers or {}, content, limits)
                    if fetched.status not in REDIRECTS or not limits.redirects:
                        return replace(fetched, duration_s=time.monotonic() - began_s)
                    url = urljoin(url, fetched.headers.get("location", ""))
                    before, target = target, parse_url(url, allow_loopback=self._allow_loopback)
                    if before.scheme == "https" and target.scheme == "http":
                        raise Refused(f"{before.origin} leads from https to http, which is not followed")
        except TimeoutError:
            raise ExternalError(
                f"{target.origin} did not answer within {limits.timeout_s:g} s", transient=True
            ) from None
        raise ExternalError(f"{target.origin} leads on more than {limits.redirects} times", transient=False)

    async def _fetch_once(
        self, method: str, target: Target, headers: Mapping[str, str], content: bytes, limits: Limits
    ) -> Fetched:
        addresses = await self._addresses(target)
        for address in addresses[:-1]:
            try:
                return await self._call(method, target, address, headers, content, limits)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue  # another of its addresses may do
            except httpx.HTTPError as error:
                raise _external(target, error) from None
        try:
            return await self._call(method, target, addresses[-1], headers, content, limits)
        except httpx.HTTPError as error:
            raise _external(target, error) from None

    async def _addresses(self, target: Target) -> Sequence[Address]:
        """Resolve once; what comes back is checked here and connected to as it is."""
        if target.address is not None:
            return [target.address]
        try:
            addresses = await self._look_up(target)
        except (OSError, UnicodeError):
            raise ExternalError(f"{target.origin}: the name cannot be resolved", transient=True) from None
        if not addresses:
            raise ExternalError(f"{target.origin}: the name has no address", transient=True)
        try:
            check_addresses(addresses, allow_loopback=self._allow_loopback)
        except Refused as refusal:
            raise Refused(f"{target.origin} {refusal}", transient=True) from None
        return addresses[:MAX_ADDRESSES]

    async def _look_up(self, target: Target) -> Sequence[Address]:
        """Resolve a name when it is its turn, which it keeps until the resolver has ended, wanted or not."""
        await self._turns.acquire()
        lookup = asyncio.ensure_future(self._resolve(target.host, target.port))
        self._lookups.add(lookup)
        lookup.add_done_callback(self._end_lookup)
        return await asyncio.shield(lookup)

    def _end_lookup(self, lookup: "asyncio.Future[Sequence[Address]]") -> None:
        self._turns.release()
        self._lookups.discard(lookup)
        if not lookup.cancelled():
            lookup.exception()  # its caller may have gone: nobody else will ask

    async def _call(
        self,
        method: str,
        target: Target,
        address: Address,
        headers: Mapping[str, str],
        content: bytes,
        limits: Limits,
    ) -> Fetched:
        number = f"[{address}]" if address.version == 6 else str(address)
        request = httpx.Request(
            method,
            f"{target.scheme}://{number}:{target.port}{target.path}",
            headers={
                "User-Agent": USER_AGENT,
                "Accept": "*/*",
                "Accept-Encoding": "identity",  # what is packed small may unpack to anything
                "Connection": "close",
                **headers,
                "Host": target.authority,
            },
            content=content or None,
            extensions={
                "sni_hostname": target.host,
                "timeout": {"connect": CONNECT_TIMEOUT_S, "read": None, "write": None, "pool": None},
            },
        )
        # trust_env is not asked of a bare transport: no proxy of the environment's comes between.
        transport = httpx.AsyncHTTPTransport(
            verify=self._context(), limits=httpx.Limits(max_connections=1, max_keepalive_connections=0)
        )
        async with transport:
            answer = await transport.handle_async_request(request)
            try:
                body = await (_whole if limits.whole else _excerpt)(target, answer, limits.body_bytes)
            finally:
                await answer.aclose()
        return Fetched(
            answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, body, duration_s=0.0
        )

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = httpx.create_ssl_context(trust_env=False)
        return self._tls


async def _excerpt(target: Target, answer: httpx.Response, limit: int) -> bytes:
    """The beginning of a body; what cannot be read of it does not matter, the status has been said."""
    kept = bytearray()
    try:
        async with asyncio.timeout(EXCERPT_TIMEOUT_S):
            async for chunk in answer.aiter_raw():
                kept += chunk
                if len(kept) >= limit:
                    break
    except (httpx.HTTPError, TimeoutError):
        pass
    return bytes(kept[:limit])


async def _whole(target: Target, answer: httpx.Response, limit: int) -> bytes:
    """All of a body, or an error that names the limit."""
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise ExternalError(f"{target.origin} sends a packed body although none was asked for", transient=False)
    kept = bytearray()
    async for chunk in answer.aiter_raw():
        kept += chunk
        if len(kept) > limit:
            raise ExternalError(f"{target.origin} sends more than {limit} bytes", transient=False)
    return bytes(kept)


def _external(target: Target, error: httpx.HTTPError) -> ExternalError:
    match error:
        case httpx.ConnectError() if isinstance(_root(error), ssl.SSLError):
            words = "its TLS certificate or handshake is not acceptable"
        case httpx.ConnectError() | httpx.ConnectTimeout():
            words = "no connection could be made"
        case httpx.RemoteProtocolError():
            words = "what it answers is no valid HTTP"
        case httpx.ReadError() | httpx.WriteError():
            words = "the connection broke off"
        case _:
            words = f"it did not answer ({type(error).__name__})"
    return ExternalError(f"{target.origin}: {words}", transient=True)


def _root(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error
