"""Pydantic's findings in our words."""

from collections.abc import Sequence

from pydantic import ValidationError

from taskflow.kernel.errors import FieldError

# Pydantic's words for what is wrong → ours, which stay the same when Pydantic's change.
_CODES = {
    "missing": "required",
    "extra_forbidden": "unknown_field",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
    "string_too_short": "wrong_length",
    "string_too_long": "wrong_length",
    "too_long": "too_many",
    "too_short": "too_few",
    "literal_error": "unknown_value",
    "enum": "unknown_value",
}


def field_errors(
    error: ValidationError, *, parameters: Sequence[str] | None = None, whole: str = "the body must be a JSON object"
) -> list[FieldError]:
    """
    Return Pydantic's findings in our words.

    Args:
        parameters: the names there are, where the query was checked: fields are names then, and JSON Pointers into the
            body otherwise.
        whole: what is said if what was checked is no object at all.
    """
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        code = item["type"]
        message = _sentence(item["msg"])
        match code:
            case "missing":
                message = "is required"
            case "extra_forbidden" if parameters is None:
                message = "is not a field of this request"
            case "extra_forbidden":
                message = f"is no parameter here; there are {', '.join(parameters or ()) or 'none'}"
            case "model_type":
                message = "must be a JSON object" if item["loc"] else whole
            case "dict_type":
                message = "must be a JSON object"
        if code.endswith(("_type", "_parsing")):
            code = "wrong_type"
        place = [str(step) for step in item["loc"]]
        if parameters is None:
            pointer = "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in place)
        else:
            pointer = place[0] if place else ""
        found.append(FieldError(pointer, _CODES.get(code, code), message))
    return found


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:] if not message[:2].isupper() else message
