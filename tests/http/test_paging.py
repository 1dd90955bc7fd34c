"""Cursors and derived keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.http.link import next_link
from taskflow.http.paging import Cursors
from taskflow.http.secret import RootSecret, hkdf_expand, hkdf_extract
from taskflow.kernel.errors import Invalid

CURSORS = Cursors(RootSecret(b"s" * 32))


@given(st.binary(min_size=1, max_size=64), st.lists(st.text() | st.integers() | st.none()))
def test_a_cursor_opens_to_its_position_in_its_own_list(position: bytes, binding: list[object]) -> None:
    assert CURSORS.open(CURSORS.seal(position, *binding), *binding) == position


@given(st.text(max_size=300))
def test_nothing_else_opens(text: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        CURSORS.open(text, "jobs")


def test_a_cursor_opens_with_the_secret_it_was_made_with_only() -> None:
    cursor = CURSORS.seal(b"position", "jobs")
    with pytest.raises(Invalid):
        Cursors(RootSecret(b"t" * 32)).open(cursor, "jobs")
    with pytest.raises(Invalid):
        CURSORS.open(cursor, "jobs", "filtered")


def test_a_cursor_is_safe_in_a_url() -> None:
    cursor = CURSORS.seal(bytes(range(250, 256)) * 3, "jobs")
    assert next_link("/x", {"limit": "3"}, cursor) == f'</x?limit=3&cursor={cursor}>; rel="next"'


def test_keys_are_derived_as_rfc_5869_says() -> None:
    key = hkdf_extract(bytes(range(13)), b"\x0b" * 22)
    assert key.hex() == "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
    okm = hkdf_expand(key, bytes(range(0xF0, 0xFA)), 42)
    assert okm.hex() == ("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")


def test_a_root_secret_is_long_enough_and_does_not_show() -> None:
    with pytest.raises(ValueError, match="at least 32 bytes, got 31"):
        RootSecret(b"x" * 31)
    secret = RootSecret(b"hunter2 hunter2 hunter2 hunter2!")
    assert "hunter2" not in repr(secret)
    assert secret.derive("a") != secret.derive("b")
