"""The form of an API key."""

import re

from hypothesis import given
from hypothesis import strategies as st

from taskflow.identity.apikeys import key as form


@given(st.binary(min_size=32, max_size=32))
def test_every_key_is_recognised_by_its_form(random: bytes) -> None:
    key = form.write(random)
    assert re.fullmatch(r"tf_[0-9A-Za-z]{49}", key)
    assert form.is_well_formed(key)


@given(st.binary(min_size=32, max_size=32), st.integers(3, 51), st.sampled_from("0Az"))
def test_one_wrong_character_is_noticed(random: bytes, place: int, char: str) -> None:
    key = form.write(random)
    mistyped = key[:place] + char + key[place + 1 :]
    assert form.is_well_formed(mistyped) == (mistyped == key)


@given(st.text(max_size=60))
def test_no_other_text_is_a_key(text: str) -> None:
    assert not form.is_well_formed(text)


def test_keys_differ_and_their_hash_is_kept() -> None:
    one, two = form.make(), form.make()
    assert one != two
    assert len(form.digest(one)) == 32
    assert form.digest(one) != form.digest(two)
