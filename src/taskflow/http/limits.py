"""
Rate limits: how many requests a key may send, and how many without a valid key may come from one address.

They are kept in the memory of this process and cost no query: with several API processes, each allows as much. An
answer says what its limit is and what is left of it in `RateLimit-Policy` and `RateLimit`, in the form of
draft-ietf-httpapi-ratelimit-headers-10. Of a bucket, `q` is the burst and `w` the time in which an empty one fills up.
"""

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from ipaddress import IPv6Address, ip_address

from taskflow.http.call import Call
from taskflow.kernel.bucket import Buckets, Limit, Taken
from taskflow.kernel.errors import RateLimited
from taskflow.telemetry.metrics import HTTP_RATE_LIMITED

IPV6_PREFIX_BITS = 64  # what one customer of a provider has at least

_SECOND_NS = 1_000_000_000


class LimitName(StrEnum):
    """A class of routes that is limited together, or `failures`: requests without a valid key."""

    READ = "read"
    WRITE = "write"
    STREAM = "stream"  # long or large ones: streams of submits, files' content
    WORK = "work"  # what workers over HTTP say; a lease must not be lost because somebody reads much
    FAILURES = "failures"


class _Named:
    """One limit: its buckets and its words."""

    __slots__ = ("_buckets", "_is_of_key", "_limit", "_name", "_policy", "_prefix", "give_back")

    def __init__(self, name: LimitName, limit: Limit, clock: Callable[[], int]) -> None:
        self._name = name
        self._limit = limit
        self._is_of_key = name is not LimitName.FAILURES
        self._buckets = Buckets(limit, clock=clock)
        self._policy = (b"ratelimit-policy", f'"{name}";q={limit.burst};w={limit.window_s}'.encode())
        self._prefix = f'"{name}";r='
        self.give_back = self._buckets.give_back

    def take(self, key: str, call: Call) -> None:
        taken = self._buckets.take(key)
        if self._is_of_key or not taken.is_granted:
            next_s = -(-taken.next_ns // _SECOND_NS)
            call.rate_headers = (
                self._policy,
                (b"ratelimit", f"{self._prefix}{taken.remaining};t={next_s}".encode()),
            )
        if not taken.is_granted:
            raise self._refusal(taken)

    def _refusal(self, taken: Taken) -> RateLimited:
        HTTP_RATE_LIMITED.labels(self._name).inc()
        next_s = -(-taken.next_ns // _SECOND_NS)
        whose = "of this key" if self._is_of_key else "of this address, for requests without a valid key,"
        return RateLimited(
            f"the rate limit '{self._name}' {whose} is used up: {self._limit.rate:g} requests per second, "
            f"{self._limit.burst} at once; try again in {next_s} s",
            retry_after_s=next_s,
            facts={"limit": self._name.value},
        )


class RateLimits:
    """
    The limits of one API process. A name that *limits* does not have, or has as `NO_LIMIT`, is not limited.

    Args:
        clock: monotonic, in nanoseconds.
    """

    def __init__(
        self, limits: Mapping[LimitName, Limit] | None = None, *, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._named: dict[str, _Named] = {
            name.value: _Named(name, limit, clock) for name, limit in (limits or {}).items() if limit
        }
        self._failures = self._named.get(LimitName.FAILURES.value)

    def take(self, call: Call, principal: str) -> None:
        """Count a request of *principal*'s under the limit of its route. Raises RateLimited."""
        named = self._named.get(call.limit)
        if named is not None:
            named.take(principal, call)

    def take_failure(self, call: Call, address: str) -> None:
        """Count a request that has shown no valid key yet. Raises RateLimited."""
        if self._failures is not None:
            self._failures.take(address, call)

    def forgive(self, address: str) -> None:
        """Take back one `take_failure`: the key was valid, or could not be looked up."""
        if self._failures is not None:
            self._failures.give_back(address)


def address_of(host: str) -> str:
    """Return what is counted as one address: of IPv6 the network, for a host has as many addresses as it likes."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> IPV6_PREFIX_BITS << IPV6_PREFIX_BITS))
    return host
