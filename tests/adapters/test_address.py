"""Which URLs we call for others: by their text, in every notation an address can be written in."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.adapters.address import Refused, check_address, check_addresses, parse_url

PRIVATE = (
    "127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1",
    "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "2002:7f00:1::", "64:ff9b:1::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "::127.0.0.1", "fec0::1", "2001::1", "3fff::1", "100::1", "5f00::1",
)  # fmt: skip
PUBLIC = ("93.184.215.14", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
          "::ffff:8.8.8.8", "64:ff9b::808:808")  # fmt: skip


@pytest.mark.covers("X-9")
@pytest.mark.parametrize("text", PRIVATE)
def test_an_address_that_is_not_public_is_refused(text: str) -> None:
    address = ip_address(text)
    with pytest.raises(Refused):
        check_address(address, allow_loopback=False)
    host = f"[{text}]" if address.version == 6 else text
    with pytest.raises(Refused):
        parse_url(f"http://{host}:8080/x", allow_loopback=False)


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_called(text: str) -> None:
    address = ip_address(text)
    check_address(address, allow_loopback=False)
    host = f"[{text}]" if address.version == 6 else text
    assert parse_url(f"https://{host}/x", allow_loopback=False).address == address


@pytest.mark.covers("X-9")
@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.1", "0", "0x", "0x7f.0.0.0x1", "010.0.0.1",
     "256.1.1.1", "1.2.3.4.5", "a.b.1", "127.0.0.01"],
)  # fmt: skip
@pytest.mark.parametrize("allow_loopback", [False, True])
def test_an_address_is_written_in_one_way_only(host: str, allow_loopback: bool) -> None:
    """What a system resolver would take for an address is none of our names."""
    with pytest.raises(Refused, match="four decimal numbers"):
        parse_url(f"http://{host}/", allow_loopback=allow_loopback)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://shop.example/", "http:// or https://"),
        ("file:///etc/passwd", "http:// or https://"),
        ("gopher://shop.example/", "http:// or https://"),
        ("//shop.example/", "http:// or https://"),
        ("http:///nothing", "names no host"),
        ("http://", "names no host"),
        ("http://user:password@shop.example/", "user name or password"),
        ("http://@shop.example/", "user name or password"),
        ("http://127.0.0.1#@shop.example/", "not public"),
        ("http://shop.example\\@127.0.0.1/", "backslashes"),
        ("http://shop.example/a b", "spaces"),
        ("http://shop.example/\r\nX: y", "spaces"),
        ("http://shop.example:0/", "port of 0"),
        ("http://shop.example:99999/", "not a URL"),
        ("http://shop.example:x/", "not a URL"),
        ("http://[::1/", "not a URL"),
        ("http://[v1.x]/", "not a URL|IPv6"),
        ("http://[fe80::1%25eth0]/", "IPv6|not a URL"),
        ("http://%31%32%37.0.0.1/", "four decimal"),
        ("http://sh%6fp.example/", "no name"),
        ("http://127。0。0。1/", "ASCII"),
        ("http://localhost/", "this machine"),
        ("http://LOCALHOST./", "this machine"),
        ("http://a.localhost/", "this machine"),
        ("http://127.0.0.1./", "not public"),
        ("http://-shop.example/", "no name"),
        ("http://shop..example/", "no name"),
        ("https://shop.example/" + "a" * 2048, "2048 characters"),
    ],
)
def test_a_url_that_is_not_for_us_to_call_is_refused_with_a_reason(url: str, words: str) -> None:
    with pytest.raises(Refused, match=words) as refusal:
        parse_url(url, allow_loopback=False)
    assert "password@" not in str(refusal.value)


def test_a_url_is_taken_apart() -> None:
    target = parse_url("HTTPS://Shop.Example.:8443/done?order=42#top", allow_loopback=False)
    assert (target.scheme, target.host, target.port, target.path) == ("https", "shop.example", 8443, "/done?order=42")
    assert target.authority == "shop.example:8443"
    assert target.origin == "https://shop.example:8443"
    assert parse_url("http://shop.example", allow_loopback=False).authority == "shop.example"
    assert parse_url("http://[2606:2800:21f:cb07::1]:81/", allow_loopback=False).authority.endswith("::1]:81")


def test_development_may_call_this_machine_and_nothing_else_of_the_neighbourhood() -> None:
    for host in ("127.0.0.1:8000", "localhost:8000", "[::1]:8000", "[::ffff:127.0.0.1]"):
        parse_url(f"http://{host}/", allow_loopback=True)
    for host in ("10.0.0.1", "169.254.169.254", "[fe80::1]", "0.0.0.0"):
        with pytest.raises(Refused):
            parse_url(f"http://{host}/", allow_loopback=True)


def test_one_bad_address_spoils_a_name() -> None:
    good, bad = ip_address("8.8.8.8"), ip_address("10.0.0.1")
    check_addresses([good, good], allow_loopback=False)
    with pytest.raises(Refused) as refusal:
        check_addresses([good, bad], allow_loopback=False)
    assert refusal.value.transient


@given(st.ip_addresses())
def test_what_we_call_is_global_to_the_standard_library_too(address: object) -> None:
    """Two lists of what is special, made apart: ours may refuse more, never less."""
    found = ip_address(str(address))
    try:
        check_address(found, allow_loopback=False)
    except Refused:
        return
    mapped = getattr(found, "ipv4_mapped", None) or found
    assert (mapped.is_global and not mapped.is_multicast) or str(found).startswith("64:ff9b::")
