"""What `jsonb` cannot hold is found, where it is, before PostgreSQL refuses it."""

from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskflow.kernel.json import MAX_DEPTH, find_unstorable

texts = st.text(st.characters(codec=None), max_size=8)
floats = st.floats(-1e15, 1e15) | st.sampled_from([float("nan"), float("inf")])  # larger ones come back as integers
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | floats | texts,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(texts, children, max_size=3),
    max_leaves=8,
)


def nested(levels: int) -> Any:
    value: Any = "deep"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "pointer", "reason"),
    [
        ("\x00", "", "U+0000"),
        ({"a": {"b": [1, "x\x00"]}}, "/a/b/1", "U+0000"),
        ({"a": {"\x00": 1}}, "/a/\x00", "U+0000"),
        ({"a/b": {"c~d": "\x00"}}, "/a~1b/c~0d", "U+0000"),
        (["fine", "\ud800"], "/1", "surrogate"),
        ({"\udfff": 1}, "/\udfff", "surrogate"),
        ({"n": float("nan")}, "/n", "finite"),
        ([float("inf")], "/0", "finite"),
        ([float("-inf")], "/0", "finite"),
        (nested(MAX_DEPTH + 1), "/0" * (MAX_DEPTH + 1), f"deeper than {MAX_DEPTH}"),
    ],
)
def test_the_first_thing_that_cannot_be_stored_is_pointed_at(value: Any, pointer: str, reason: str) -> None:
    found = find_unstorable(value)
    assert found is not None
    assert found[0] == pointer
    assert reason in found[1]


@pytest.mark.parametrize("value", [None, True, 0, -1.5, "", "𝄞 ü \\u0000", [], {}, {"": ""}, nested(MAX_DEPTH)])
def test_what_can_be_stored_is_not_found_fault_with(value: Any) -> None:
    assert find_unstorable(value) is None


@pytest.mark.slow
def test_postgresql_takes_what_passes_and_gives_it_back(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:

        @settings(max_examples=200, deadline=None)
        @given(value=values)
        def check(value: Any) -> None:
            if find_unstorable(value) is None:
                text = msgspec.json.encode(value).decode()
                row = connection.execute("SELECT %s::jsonb::text", [text]).fetchone()
                assert row is not None
                assert msgspec.json.decode(row[0]) == value

        check()
