"""
A job function's typed arguments as the payload of its jobs, both ways.

The types become a `msgspec.Struct`, whose JSON Schema is published by workers. At a submit each argument is encoded and
decoded again by its own type, so that what the worker could not read is refused where it was written, by name.
"""

import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from taskflow.apps.sdk import models
from taskflow.apps.sdk.context import JobContext
from taskflow.engine.context import Cancel, Retry, Snooze
from taskflow.engine.context import JobContext as EngineContext
from taskflow.kernel.errors import FieldError, Invalid, Permanent
from taskflow.kernel.json import JSONObject

VERDICTS = (Retry, Snooze, Cancel, Permanent)  # what a job function may return in place of a result, or raise
_ABOUT_FIELDS = (
    (re.compile(r"Object missing required field `(.+)`"), "required", "is required"),
    (re.compile(r"Object contains unknown field `(.+)`"), "unknown_field", "is not a field here"),
)
_STEP = re.compile(r"\[(\d+|\.\.\.)\]|\.([^.\[]+)")


class Arguments:
    """
    See the module.

    Raises:
        TypeError: the function cannot be a job; says which parameter is wrong, and how.
    """

    def __init__(self, kind: str, function: Callable[..., Any]) -> None:
        self._kind = kind
        self._function = function
        try:
            hints = get_type_hints(function, include_extras=True)
        except NameError as error:
            raise TypeError(f"job {kind!r}: an annotation cannot be resolved: {error}") from error
        parameters = list(inspect.signature(function).parameters.values())
        self.takes_context = bool(parameters) and _is_context(parameters[0], hints)
        fields: list[tuple[str, Any, Any]] = []
        self._decoders: dict[str, msgspec.json.Decoder[Any]] = {}
        self._required: set[str] = set()
        for parameter in parameters[1:] if self.takes_context else parameters:
            name = parameter.name
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"job {kind!r}: parameter {name!r} must be an ordinary one that can be given by name")
            if name not in hints:
                raise TypeError(f"job {kind!r}: parameter {name!r} needs a type annotation")
            self._decoders[name] = _decoder(kind, f"parameter {name!r}", hints[name])
            if parameter.default is parameter.empty:
                self._required.add(name)
            fields.append((name, hints[name], _default(parameter.default)))
        self._positional = [
            parameter.name
            for parameter in (parameters[1:] if self.takes_context else parameters)
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ]
        self.payload_type: type[msgspec.Struct] = msgspec.defstruct(
            function.__name__, fields, kw_only=True, frozen=True, forbid_unknown_fields=True
        )
        result = _without_verdicts(hints.get("return", Any))
        _decoder(kind, "the return value", result)
        self.result_type = result

    def encode(self, args: Sequence[Any], given: Mapping[str, Any]) -> JSONObject:
        """
        Return the payload for a call with these arguments.

        Raises:
            Invalid: naming every argument that is missing, unknown or wrong.
        """
        named, errors = self._named(args, given)
        payload: dict[str, Any] = {}
        for name, value in named.items():
            decoder = self._decoders.get(name)
            if decoder is None:
                detail = f"is no argument of job {self._kind!r}; it takes {', '.join(self._decoders) or 'none'}"
                errors.append(FieldError(f"/{name}", "unknown_field", detail))
                continue
            try:
                text = msgspec.json.encode(value, enc_hook=models.write)
                decoder.decode(text)
                payload[name] = msgspec.json.decode(text)
            except msgspec.ValidationError as error:
                here = _located(str(error))
                errors += [
                    FieldError(f"/{name}{here.pointer}{inner.pointer}", inner.code, inner.detail)
                    for inner in models.refusals(error) or [FieldError("", here.code, here.detail)]
                ]
            except (TypeError, ValueError, RecursionError, OverflowError) as error:
                errors.append(FieldError(f"/{name}", "unstorable", f"cannot be written as JSON: {error}"))
        errors += [FieldError(f"/{name}", "required", "is required") for name in sorted(self._required - named.keys())]
        if errors:
            named_errors = "; ".join(f"{error.pointer[1:]} {error.detail}" for error in errors)
            raise Invalid(f"job {self._kind!r} cannot take these arguments: {named_errors}", errors=errors)
        return payload

    def decode(self, payload: msgspec.Struct) -> dict[str, Any]:
        """Return the keyword arguments of the call that *payload* asks for."""
        return {name: getattr(payload, name) for name in self._decoders}

    def _named(self, args: Sequence[Any], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
        named = dict(zip(self._positional, args, strict=False))
        errors = [FieldError(f"/{name}", "given_twice", "is given twice") for name in named if name in given]
        if len(args) > len(self._positional):
            detail = f"takes {len(self._positional)} arguments by position, got {len(args)}"
            errors.append(FieldError("", "too_many", detail))
        return {**named, **given}, errors


def _is_context(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> bool:
    hint = hints.get(parameter.name)
    if hint is None:
        return parameter.name == "ctx"
    return isinstance(hint, type) and issubclass(hint, (JobContext, EngineContext))


def _default(value: Any) -> Any:
    if value is inspect.Parameter.empty:
        return msgspec.NODEFAULT
    if isinstance(value, (list, dict, set, bytearray)):
        return msgspec.field(default_factory=lambda: deepcopy(value))
    return value


def _decoder(kind: str, what: str, hint: Any) -> "msgspec.json.Decoder[Any]":
    try:
        models.schema_of(hint)
        return msgspec.json.Decoder(hint, dec_hook=models.read)
    except (TypeError, NameError, RuntimeError) as error:
        raise TypeError(f"job {kind!r}: {what} is of a type that JSON cannot carry: {error}") from error


def _without_verdicts(hint: Any) -> Any:
    """Return the type of a result: what is annotated, less the verdicts that may be returned in its place."""
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kept = tuple(part for part in parts if not (isinstance(part, type) and issubclass(part, VERDICTS)))
    if not kept:
        return None
    return hint if len(kept) == len(parts) else Union[kept]  # noqa: UP007 -- of types known at run time


def _located(message: str) -> FieldError:
    """Return msgspec's words, the place that they name as a JSON Pointer, and the API's code for them."""
    detail, _, place = message.partition(" - at `$")
    pointer = "".join(f"/{index or name}" for index, name in _STEP.findall(place.rstrip("`")))
    for pattern, code, words in _ABOUT_FIELDS:
        if (match := pattern.fullmatch(detail)) is not None:
            return FieldError(f"{pointer}/{match.group(1)}", code, words)
    return FieldError(pointer, "wrong_type", detail[:1].lower() + detail[1:])
