"""
Which URLs we may call for somebody else: http and https, at public addresses.

Whoever names a URL to be called from here could otherwise reach what only we can reach: a database on the loopback, a
neighbour's admin page, the credentials that clouds hand out at a link-local address. `parse_url` judges what is
written, in any notation; `check_address` judges what a name resolved to. Between them `adapters.fetch` resolves a name
once and connects to the address that was checked, so an answer that changes meanwhile (rebinding) changes nothing.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias
from urllib.parse import urlsplit

from taskflow.kernel.errors import ExternalError

Address: TypeAlias = IPv4Address | IPv6Address

MAX_URL_LENGTH = 2048
PORTS = {"http": 80, "https": 443}

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"(?:[0-9]+|0[xX][0-9A-Fa-f]*)")  # a last label that makes the host an address (WHATWG URL)

# The registries of special-purpose addresses (RFC 6890 and its updates): nothing of them is the public internet.
_REFUSED_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")  # all that is given out so far
_REFUSED_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address inside, and a relay between
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # what DNS64 answers for IPv4 hosts; the address inside decides


class Refused(ExternalError):
    """We do not call that. *transient* if what it resolves to may be mended."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message, transient=transient)


@dataclass(frozen=True, slots=True)
class Target:
    """
    A URL that may be called as far as can be seen from its text.

    Args:
        host: in lower case, an IPv6 address without brackets.
        address: if the host is one.
        path: with the query.
    """

    scheme: str
    host: str
    port: int
    address: Address | None
    path: str

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What logs and errors may show: paths and queries hold tokens."""
        return f"{self.scheme}://{self.authority}"


def parse_url(text: str, *, allow_loopback: bool) -> Target:
    """
    Return what *text* points at. Nothing is resolved.

    Args:
        allow_loopback: for development: this machine may be called too.

    Raises:
        Refused: saying what is wrong, without showing the URL.
    """
    if len(text) > MAX_URL_LENGTH:
        raise Refused(f"must have at most {MAX_URL_LENGTH} characters")
    if not text.isascii() or any(char <= " " or char == "\x7f" or char == "\\" for char in text):
        raise Refused("must be printable ASCII without spaces and backslashes; percent-encode what else a URL holds")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Refused("is not a URL") from None
    if parts.scheme not in PORTS:
        raise Refused("must start with http:// or https://")
    if "@" in parts.netloc:
        raise Refused("must not hold a user name or password")
    if not host or port == 0:
        raise Refused("names no host" if not host else "has a port of 0")
    host = host.removesuffix(".").lower()
    address = _literal(host, in_brackets=parts.netloc.startswith("["))
    if address is not None:
        check_address(address, allow_loopback=allow_loopback)
    elif (host == "localhost" or host.endswith(".localhost")) and not allow_loopback:
        raise Refused("points at this machine itself, which is refused")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or PORTS[parts.scheme], address, path)


def check_address(address: Address, *, allow_loopback: bool) -> None:
    """Raise Refused unless *address* is public, or the loopback where that is allowed."""
    inner = _unwrapped(address)
    if inner.is_loopback and allow_loopback:
        return
    if isinstance(inner, IPv4Address):
        public = not any(inner in network for network in _REFUSED_V4)
    else:
        public = inner in _PUBLIC_V6 and not any(inner in network for network in _REFUSED_V6)
    if not public:
        raise Refused("points at an address that is not public (private, loopback, link-local, reserved …)")


def check_addresses(addresses: Sequence[Address], *, allow_loopback: bool) -> None:
    """
    Raise Refused unless every one of a name's addresses may be called.

    One bad address spoils the name: whoever mixes them is trying something. It may be mended, so it is transient.
    """
    try:
        for address in addresses:
            check_address(address, allow_loopback=allow_loopback)
    except Refused as refusal:
        raise Refused(str(refusal), transient=True) from None


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that is really called, where an IPv6 one only carries it."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _literal(host: str, *, in_brackets: bool) -> Address | None:
    """Return the address that *host* is, None for a name; Refused for what is neither."""
    if in_brackets:
        try:
            if "%" not in host:
                return IPv6Address(host)
        except ValueError:
            pass
        raise Refused("has no valid IPv6 address between its brackets")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        # 2130706433, 0x7f.1, 0177.0.0.1: system resolvers take these for addresses, so they are no names. One way of
        # writing is enough.
        try:
            return IPv4Address(host)
        except ValueError:
            raise Refused("has an address that is not written as four decimal numbers") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise Refused("has a host that is no name: letters, digits and hyphens between dots")
    return None
