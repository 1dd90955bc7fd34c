"""What a schema costs is told before it is compiled, whatever its references do."""

import time
from typing import Any

import pytest

from taskflow.jobs.remote.weight import MAX_CHAIN, MAX_WEIGHT, find_costly, weight_of


def doubling(levels: int, keyword: str = "allOf") -> dict[str, Any]:
    """A schema of *levels* that each refer twice to the next: 2**levels parts."""
    named: dict[str, Any] = {f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$defs": {**named, f"d{levels}": {"type": "string"}}, "$ref": "#/$defs/d0"}


def code_of(schema: dict[str, Any]) -> str | None:
    error = find_costly(schema)
    if error is not None:
        assert error.pointer == "/schema"
    return None if error is None else error.code


def test_objects_elements_and_booleans_are_counted() -> None:
    assert weight_of({}) == 1
    assert weight_of({"type": "string", "minLength": 1}) == 1
    assert weight_of({"enum": ["a", "b", 3, None]}) == 5
    assert weight_of({"properties": {"a": True, "b": {"type": "string"}}}) == 4
    assert weight_of({"allOf": [{}, {"items": {}}]}) == 4


def test_what_is_referred_to_counts_each_time() -> None:
    assert weight_of({"$defs": {"a": {"enum": [1, 2]}}}) == 5
    assert weight_of({"$defs": {"a": {"enum": [1, 2]}}, "items": {"$ref": "#/$defs/a"}}) == 9
    two: dict[str, Any] = {"$defs": {"a": {"enum": [1, 2]}}, "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}
    assert weight_of(two) == 13


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_doubling_references_are_weighed_without_being_followed_each_time(keyword: str) -> None:
    began_s = time.monotonic()
    assert weight_of(doubling(60, keyword)) > 2**60
    assert code_of(doubling(60, keyword)) == "too_costly"
    assert time.monotonic() - began_s < 1.0
    assert code_of(doubling(8, keyword)) is None


def test_the_limit_is_where_it_is_said_to_be() -> None:
    assert code_of({"enum": list(range(MAX_WEIGHT - 1))}) is None
    assert code_of({"enum": list(range(MAX_WEIGHT))}) == "too_costly"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"properties": {"next": {"$ref": "#"}}},
        {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}},
        {"allOf": [{"$ref": "#/allOf/0"}]},
        {"$defs": {"a b/c": {"items": {"$ref": "#/$defs/a%20b~1c"}}}},
        {"items": {"$dynamicRef": "#node"}},
        {"items": {"$recursiveRef": "#"}},
    ],
)
def test_a_schema_that_refers_to_itself_is_refused(schema: dict[str, Any]) -> None:
    assert code_of(schema) == "too_costly"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/nowhere"},
        {"allOf": [{}], "$ref": "#/allOf/1"},
        {"$ref": "#name", "$defs": {"a": {"$anchor": "name"}}},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
        {"$id": "https://example.com/a", "$ref": "a"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$id": "https://example.com/a"}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$schema": "http://json-schema.org/draft-04/schema#", "id": "x"}}},
    ],
)
def test_a_reference_that_cannot_be_followed_by_looking_is_refused(schema: dict[str, Any]) -> None:
    assert code_of(schema) == "bad_schema"


def test_a_chain_that_is_too_long_is_refused_and_breaks_nothing() -> None:
    named = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(MAX_CHAIN * 3)}
    assert code_of({"$defs": {**named, f"d{MAX_CHAIN * 3}": {}}}) == "too_costly"


def test_fields_that_are_called_like_keywords_are_no_references() -> None:
    names = ("$ref", "$dynamicRef", "$id", "id")
    assert code_of({"properties": {name: {"type": "string"} for name in names}}) is None
    assert code_of({"$id": "https://example.com/a", "$defs": {"a": {}}, "$ref": "#/$defs/a"}) is None
