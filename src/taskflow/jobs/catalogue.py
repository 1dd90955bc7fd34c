"""
The kinds that workers have published, each with the compiled schema of its payload.

Read at most every `FRESH_S`, and once more when somebody asks for a kind that is not there (a worker may have published
it a moment ago). While the database is away the last reading goes on to serve.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jsonschema_rs

from taskflow.engine.client import Engine
from taskflow.engine.job import KindInfo
from taskflow.kernel.errors import FieldError, Unavailable
from taskflow.kernel.json import JSONObject
from taskflow.telemetry.log import get_logger

FRESH_S = 2.0
MISS_S = 0.25  # an unknown name makes us look again at most this often
MAX_ERRORS = 100
MAX_DETAIL_CHARS = 300

_log = get_logger(__name__)

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


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind and what checks its payloads."""

    info: KindInfo
    validator: jsonschema_rs.Validator

    def payload_errors(self, payload: JSONObject) -> list[FieldError]:
        """Return what the kind's schema finds wrong with *payload*, with pointers under `/payload`."""
        if self.validator.is_valid(payload):
            return []
        found = (
            item for error in self.validator.iter_errors(payload) for item in _field_errors(error, self.info.schema)
        )
        return list(islice(found, MAX_ERRORS))


class Catalogue:
    """See the module."""

    def __init__(self, engine: Engine, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._monotonic = monotonic
        self._kinds: Mapping[str, Kind] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def find(self, name: str) -> Kind | None:
        """Return the kind of that name, or None. Raises Unavailable if it was never possible to look."""
        await self._refresh(FRESH_S)
        if (kind := self._kinds.get(name)) is None:
            await self._refresh(MISS_S)
            kind = self._kinds.get(name)
        return kind

    async def list_kinds(self) -> Sequence[KindInfo]:
        """Return all kinds, by name."""
        await self._refresh(FRESH_S)
        return [kind.info for _, kind in sorted(self._kinds.items())]

    async def _refresh(self, max_age_s: float) -> None:
        asked_at = self._monotonic()
        if self._read_at is not None and asked_at - self._read_at < max_age_s:
            return
        async with self._reading:
            if self._read_at is not None and self._read_at >= asked_at:
                return  # somebody has read while we waited
            try:
                published = await self._engine.list_kinds()
            except Unavailable:
                if self._read_at is None:
                    raise
                self._read_at = self._monotonic()  # what we know serves on; the write itself will say what is wrong
                return
            self._kinds = {info.kind: kind for info in published if (kind := self._compiled(info)) is not None}
            self._read_at = self._monotonic()

    def _compiled(self, info: KindInfo) -> Kind | None:
        known = self._kinds.get(info.kind)
        if known is not None and known.info.schema == info.schema:
            return Kind(info, known.validator)
        try:
            # offline: a schema that points elsewhere is never fetched
            return Kind(info, jsonschema_rs.validator_for(dict(info.schema), offline=True))
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            # Without its schema nothing can be checked, so nothing is taken.
            _log.error("taskflow.kind.broken", kind=info.kind, error=str(error)[:MAX_DETAIL_CHARS])
            return None


def _field_errors(error: jsonschema_rs.ValidationError, schema: Mapping[str, Any]) -> Iterator[FieldError]:
    place = "/payload" + "".join(f"/{_escaped(step)}" for step in error.instance_path)
    match error.kind:
        case jsonschema_rs.ValidationErrorKind.AdditionalProperties(unexpected=names):
            for name in names:
                yield FieldError(f"{place}/{_escaped(name)}", "unknown_field", "is not a field of this payload")
        case jsonschema_rs.ValidationErrorKind.Required(property=name):
            yield FieldError(f"{place}/{_escaped(name)}", "required", "is required")
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
