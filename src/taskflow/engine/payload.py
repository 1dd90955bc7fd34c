"""
What a kind's JSON Schema says of a payload, in our words: codes, and JSON Pointers under `/payload`.

Used where a job is asked for, and again where a schedule submits one long after it was asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import jsonschema_rs

from taskflow.kernel.errors import FieldError
from taskflow.kernel.json import JSONObject

MAX_ERRORS = 100
MAX_DETAIL_CHARS = 300
MAX_BACKTRACKS = 2_000  # of a pattern that somebody else wrote, at one string

# JSON Schema's keywords → our codes, where ours are better known.
_CODES = {
    "type": "wrong_type",
    "required": "required",
    "additionalProperties": "unknown_field",
    "unevaluatedProperties": "unknown_field",
    "maxLength": "wrong_length",
    "minLength": "wrong_length",
    "maxItems": "too_many",
    "minItems": "too_few",
    "enum": "unknown_value",
    "const": "unknown_value",
    "maximum": "out_of_range",
    "minimum": "out_of_range",
    "exclusiveMaximum": "out_of_range",
    "exclusiveMinimum": "out_of_range",
}

# A regular expression is no answer to a person: what a string should be is said by the schema's own words.
_WRONG_FORM = "does not have the right form"
_ARTICLES = ("A ", "An ", "a ", "an ")


class PayloadSchema:
    """
    A compiled schema.

    Args:
        foreign: it came over HTTP; its patterns may not take long.

    Raises:
        ValueError: *schema* cannot be used.
    """

    def __init__(self, schema: JSONObject, *, foreign: bool = False) -> None:
        self.schema = schema
        patterns = jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS) if foreign else None
        try:
            # offline: a schema that points elsewhere is never fetched
            self._validator = jsonschema_rs.validator_for(dict(schema), offline=True, pattern_options=patterns)
        except jsonschema_rs.ReferencingError as error:
            raise ValueError(str(error)) from error

    def errors_of(self, payload: JSONObject) -> list[FieldError]:
        """Return what is wrong with *payload*, at most `MAX_ERRORS` things."""
        if self._validator.is_valid(payload):
            return []
        found = (item for error in self._validator.iter_errors(payload) for item in _field_errors(error, self.schema))
        return list(islice(found, MAX_ERRORS))


def _field_errors(error: jsonschema_rs.ValidationError, schema: Mapping[str, Any]) -> Iterator[FieldError]:
    place = "/payload" + "".join(f"/{_escaped(step)}" for step in error.instance_path)
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=names):
            for name in names:
                yield FieldError(f"{place}/{_escaped(name)}", "unknown_field", "is not a field of this payload")
        case jsonschema_rs.ValidationErrorKind.Required(property=name):
            yield FieldError(f"{place}/{_escaped(name)}", "required", _missing(schema, error.schema_path))
        case jsonschema_rs.ValidationErrorKind.AnyOf(context=branches) if near := _nearest(branches, error):
            for inner in near:
                yield from _field_errors(inner, schema)
        case jsonschema_rs.ValidationErrorKind.AnyOf() | jsonschema_rs.ValidationErrorKind.OneOfNotValid():
            yield FieldError(place, "wrong_type", "is of none of the types that are possible here")
        case jsonschema_rs.ValidationErrorKind.FalseSchema():
            yield FieldError(place, "exclusive", "does not go together with another field that is given")
        case jsonschema_rs.ValidationErrorKind.Pattern():
            yield FieldError(place, "pattern", _form(schema, error.schema_path))
        case kind:
            yield FieldError(place, _CODES.get(kind.name, kind.name), str(error.message)[:MAX_DETAIL_CHARS])


def _missing(schema: Mapping[str, Any], path: Sequence[str | int]) -> str:
    """Say that a field is required, in the words of the part of *schema* that does, if it is one with a condition."""
    part: Any = schema
    for step in path[:-1]:
        try:
            part = part[step]
        except (LookupError, TypeError):
            return "is required"
    words = part.get("description") if isinstance(part, dict) and "then" in path else None
    return f"{words[0].lower()}{words[1:].removesuffix('.')}"[:MAX_DETAIL_CHARS] if words else "is required"


def _form(schema: Mapping[str, Any], path: Sequence[str | int]) -> str:
    """Say what a string should have been, in the words of the part of *schema* whose pattern, at *path*, it fails."""
    part: Any = schema
    for step in path[:-1]:
        try:
            part = part[step]
        except (LookupError, TypeError):  # the path went through a reference that is not written out here
            return _WRONG_FORM
    words = (part.get("description") or part.get("title")) if isinstance(part, dict) else None
    if not isinstance(words, str):
        return _WRONG_FORM
    words = words.removesuffix(".")
    if words.startswith(_ARTICLES):
        return f"is not {words[0].lower()}{words[1:]}"[:MAX_DETAIL_CHARS]
    return f"{_WRONG_FORM}: {words}"[:MAX_DETAIL_CHARS]


def _nearest(
    branches: Sequence[Sequence[jsonschema_rs.ValidationError]], error: jsonschema_rs.ValidationError
) -> Sequence[jsonschema_rs.ValidationError]:
    """Of "one of these" return the findings of the one that was meant: the first that takes a value of this type."""
    here = list(error.instance_path)
    for branch in branches:
        if not any(inner.kind.name == "type" and list(inner.instance_path) == here for inner in branch):
            return branch
    return ()


def _escaped(step: str | int) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")
