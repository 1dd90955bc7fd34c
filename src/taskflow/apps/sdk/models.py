"""
Pydantic models as arguments and results of jobs. Whoever uses one has loaded pydantic; nobody else pays for it.

msgspec takes them for types of somebody else's, and asks here how to write, read and describe them. What a model calls
something else in JSON (an alias) is called so in payloads as well.
"""

import re
import sys
from typing import TYPE_CHECKING, Any, cast

import msgspec

from taskflow.kernel.errors import FieldError
from taskflow.kernel.json import JSONObject

if TYPE_CHECKING:
    from pydantic import BaseModel

_REF = "#/$defs/"


def is_model(kind: Any) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


def write(value: Any) -> Any:
    """Return a model as JSON values; msgspec's `enc_hook`."""
    if is_model(type(value)):
        return cast("BaseModel", value).model_dump(mode="json", by_alias=True)
    raise TypeError(f"values of {type(value).__qualname__} cannot be written as JSON")


def read(kind: type, value: Any) -> Any:
    """Make a model of JSON values; msgspec's `dec_hook`."""
    if is_model(kind):
        return cast("type[BaseModel]", kind).model_validate_json(msgspec.json.encode(value))
    raise TypeError(f"values of {kind.__qualname__} cannot be read from JSON")


def describe(kind: type) -> dict[str, Any]:
    """Return a model's JSON Schema; msgspec's `schema_hook`. `gathered` puts its parts where they are referred to."""
    if is_model(kind):
        mine = re.sub(r"\W", "_", f"{kind.__module__}.{kind.__qualname__}")
        schema = cast("type[BaseModel]", kind).model_json_schema(ref_template=f"{_REF}{mine}.{{model}}")
        if "$defs" in schema:
            schema["$defs"] = {f"{mine}.{name}": part for name, part in schema["$defs"].items()}
        return schema
    raise TypeError(f"type {kind.__qualname__} has no JSON Schema")


def schema_of(kind: Any) -> JSONObject:
    """Return a type's JSON Schema, models and all."""
    schema: dict[str, Any] = msgspec.json.schema(kind, schema_hook=describe)
    parts: dict[str, Any] = {}
    gathered = _gathered(schema, parts, is_root=True)
    if parts:
        gathered["$defs"] = {**gathered.get("$defs", {}), **parts}
    return cast("JSONObject", gathered)


def refusals(error: BaseException) -> list[FieldError]:
    """Return what a model refuses, with JSON Pointers inside of it and the API's codes; nothing if it was no model."""
    pydantic = sys.modules.get("pydantic")
    cause = error.__cause__
    if pydantic is None or not isinstance(cause, pydantic.ValidationError):
        return []
    from taskflow.http.validation import field_errors  # here, because it loads pydantic

    return field_errors(cause, whole="must be a JSON object")


def _gathered(part: Any, parts: dict[str, Any], *, is_root: bool = False) -> Any:
    """Move the `$defs` of models, which stand where the model does, to *parts*: references lead to the root."""
    if isinstance(part, list):
        return [_gathered(item, parts) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {name: _gathered(value, parts) for name, value in part.items() if is_root or name != "$defs"}
    if not is_root:
        for name, value in part.get("$defs", {}).items():
            parts[name] = _gathered(value, parts)
    return kept
