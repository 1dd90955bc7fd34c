"""The parser of request heads, on bytes alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow_learn.errors import Code, Refusal
from taskflow_learn.http.head import Head, parse_head
from taskflow_learn.http.limits import Limits

LIMITS = Limits()


def parse(*lines: str) -> Head:
    return parse_head("\r\n".join(lines).encode("latin-1"), LIMITS)


def test_a_plain_head() -> None:
    head = parse("GET /a?b=c HTTP/1.1", "Host: x", "ACCEPT:  a ", "Accept: b")
    assert (head.method, head.target, head.version) == ("GET", "/a?b=c", (1, 1))
    assert head.headers == {"host": "x", "accept": "a, b"}
    assert head.keep_alive
    assert not head.is_chunked


def test_a_proxy_may_send_the_whole_address() -> None:
    assert parse("GET http://x/a?b HTTP/1.1", "Host: x").target == "/a?b"
    assert parse("GET http://x HTTP/1.1", "Host: x").target == "/"


@pytest.mark.parametrize(
    ("line", "version", "expected"),
    [("", "1.1", True), ("close", "1.1", False), ("", "1.0", False), ("Keep-Alive", "1.0", True)],
)
def test_keep_alive_is_the_default_since_1_1(line: str, version: str, expected: bool) -> None:
    assert parse(f"GET / HTTP/{version}", "Host: x", f"Connection: {line}").keep_alive is expected


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["GET / HTTP/1.1"], Code.BAD_REQUEST),  # no Host
        (["GET  / HTTP/1.1", "Host: x"], Code.BAD_REQUEST),
        (["GET / HTTP/1.1 ", "Host: x"], Code.BAD_REQUEST),
        (["GET /", "Host: x"], Code.BAD_REQUEST),
        (["G@T / HTTP/1.1", "Host: x"], Code.BAD_REQUEST),
        (["GET relative HTTP/1.1", "Host: x"], Code.BAD_REQUEST),
        (["GET /\xe9 HTTP/1.1", "Host: x"], Code.BAD_REQUEST),
        (["GET / HTTP/2.0", "Host: x"], Code.VERSION_NOT_SUPPORTED),
        (["GET / http/1.1", "Host: x"], Code.BAD_REQUEST),
        (["GET / HTTP/1.1", "Host : x"], Code.BAD_REQUEST),  # a space before the colon
        (["GET / HTTP/1.1", "Host: x", " folded"], Code.BAD_REQUEST),
        (["GET / HTTP/1.1", "Host: x", "no colon"], Code.BAD_REQUEST),
        (["GET / HTTP/1.1", "Host: x", ": no name"], Code.BAD_REQUEST),
        (["GET / HTTP/1.1", "Host: x", "A: b\nEvil: c"], Code.BAD_REQUEST),  # a bare line feed
        (["GET / HTTP/1.1", "Host: x", "A: b\x00c"], Code.BAD_REQUEST),
        (["GET / HTTP/1.1", "Host: x", "A: \x9b31m"], Code.BAD_REQUEST),  # a command to a terminal
        (["GET / HTTP/1.1", "Host: x", "Host: y"], Code.BAD_REQUEST),
        (["POST / HTTP/1.1", "Host: x", "Content-Length: 5", "Content-Length: 5"], Code.BAD_REQUEST),
        (["POST / HTTP/1.1", "Host: x", "Content-Length: -1"], Code.BAD_REQUEST),
        (["POST / HTTP/1.1", "Host: x", "Content-Length: +1"], Code.BAD_REQUEST),
        (["POST / HTTP/1.1", "Host: x", "Content-Length: 1_0"], Code.BAD_REQUEST),
        (["POST / HTTP/1.1", "Host: x", "Content-Length: 0x5"], Code.BAD_REQUEST),
        (
            ["POST / HTTP/1.1", "Host: x", "Content-Length: \xb2"],
            Code.BAD_REQUEST,
        ),  # ², a digit to some
        (["POST / HTTP/1.1", "Host: x", "Content-Length: "], Code.BAD_REQUEST),
        (["POST / HTTP/1.1", "Host: x", "Content-Length: 5", "Transfer-Encoding: chunked"], Code.BAD_REQUEST),
        (["POST / HTTP/1.0", "Transfer-Encoding: chunked"], Code.BAD_REQUEST),
        (["POST / HTTP/1.1", "Host: x", "Transfer-Encoding: gzip, chunked"], Code.NOT_IMPLEMENTED),
        (["POST / HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", "Transfer-Encoding: x"], Code.NOT_IMPLEMENTED),
        (["GET /" + "a" * 8_192 + " HTTP/1.1", "Host: x"], Code.URI_TOO_LONG),
        (["GET / HTTP/1.1", "Host: x"] + [f"X-{n}: y" for n in range(100)], Code.HEADERS_TOO_LARGE),
    ],
)
def test_whatever_could_be_read_two_ways_is_refused(lines: list[str], code: Code) -> None:
    with pytest.raises(Refusal) as refused:
        parse(*lines)
    assert refused.value.code is code


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    try:
        head = parse_head(data, LIMITS)
    except Refusal:
        return
    assert head.target.startswith("/")


@given(st.text(alphabet="GET /abc HTTP/1.\r\n:;Host\x00\t1é", max_size=120))
def test_nearly_right_bytes_raise_nothing_but_a_refusal(text: str) -> None:
    try:
        head = parse_head(text.encode("latin-1"), LIMITS)
    except Refusal:
        return
    assert head.version[0] == 1
