"""
What may be written into a task. A create and an update go through the same checks: a rule that holds only at the front
door is not a rule.

Whether a dependency exists is not asked here: that depends on the other tasks, and so it is the store's to say.
"""

from typing import TypedDict
from uuid import UUID

from taskflow_learn.errors import Code, JSONValue, Refusal
from taskflow_learn.tasks.model import Status

TITLE_LIMIT = 200
DESCRIPTION_LIMIT = 10_000
PRIORITY_LOW, PRIORITY_HIGH = 1, 10
DEPENDENCY_LIMIT = 1_000  # of one task; how long a chain of tasks may be is not limited

READ_ONLY = frozenset({"id", "createdAt", "updatedAt"})  # ignored, so that a task that was read can be sent back
WRITABLE = frozenset({"title", "description", "status", "priority", "dependencies"})


class TaskFields(TypedDict, total=False):
    """Checked fields; only those that were sent."""

    title: str
    description: str
    status: Status
    priority: int
    dependencies: list[str]


def check_new_task(body: JSONValue) -> TaskFields:
    """Return the fields of a task to create, which must have a title."""
    fields = check_changes(body)
    if "title" not in fields:
        raise Refusal(Code.MISSING_REQUIRED_FIELD, "title is required", {"field": "title"})
    return fields


def check_changes(body: JSONValue) -> TaskFields:
    """Return the fields that *body* names; raise `Refusal` for the first one that may not be written so."""
    if not isinstance(body, dict):
        raise Refusal(Code.VALIDATION_ERROR, f"the body must be a JSON object, got {_kind(body)}", {"field": "body"})
    for name in body:
        if name not in WRITABLE and name not in READ_ONLY:
            allowed: list[JSONValue] = [*sorted(WRITABLE)]
            raise _invalid(
                name[:80], f"is not a field of a task; fields are {', '.join(sorted(WRITABLE))}", allowed=allowed
            )
    fields = TaskFields()
    if "title" in body:
        fields["title"] = _text("title", body["title"], 1, TITLE_LIMIT)
    if "description" in body:
        fields["description"] = _text("description", body["description"], 0, DESCRIPTION_LIMIT)
    if "status" in body:
        fields["status"] = _status(body["status"])
    if "priority" in body:
        fields["priority"] = _priority(body["priority"])
    if "dependencies" in body:
        fields["dependencies"] = _dependencies(body["dependencies"])
    return fields


def is_uuid(text: str) -> bool:
    """Return whether *text* is a UUID in its usual spelling."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _invalid(field: str, problem: str, **facts: JSONValue) -> Refusal:
    return Refusal(Code.VALIDATION_ERROR, f"{field} {problem}", {"field": field, **facts})


def _text(field: str, value: JSONValue, low: int, high: int) -> str:
    if not isinstance(value, str):
        raise _invalid(field, f"must be a string, got {_kind(value)}")
    if len(value) > high or len(value.strip()) < low:
        raise _invalid(field, f"must have {low} to {high} characters, got {len(value)}", min=low, max=high)
    if any("\ud800" <= character <= "\udfff" for character in value):  # JSON can spell half a character, UTF-8 cannot
        raise _invalid(field, "holds half of a surrogate pair, which is not a character")
    return value


def _status(value: JSONValue) -> Status:
    try:
        return Status(value)  # type: ignore[arg-type]  # looking up what is not a string fails like any other value
    except ValueError:
        allowed: list[JSONValue] = [*Status]
        raise _invalid("status", f"must be one of {', '.join(Status)}", allowed=allowed) from None


def _priority(value: JSONValue) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not PRIORITY_LOW <= value <= PRIORITY_HIGH:
        raise _invalid(
            "priority",
            f"must be a whole number from {PRIORITY_LOW} to {PRIORITY_HIGH}",
            min=PRIORITY_LOW,
            max=PRIORITY_HIGH,
        )
    return value


def _dependencies(value: JSONValue) -> list[str]:
    if not isinstance(value, list):
        raise _invalid("dependencies", f"must be an array of task ids, got {_kind(value)}")
    if len(value) > DEPENDENCY_LIMIT:
        raise _invalid("dependencies", f"may name {DEPENDENCY_LIMIT} tasks, got {len(value)}", max=DEPENDENCY_LIMIT)
    ids: dict[str, None] = {}  # a set that keeps the order
    for element in value:
        if not isinstance(element, str) or not is_uuid(element):
            raise _invalid("dependencies", "must be an array of task ids, which are UUIDs")
        if element in ids:
            raise _invalid("dependencies", f"names {element} twice", taskId=element)
        ids[element] = None
    return [*ids]


def _kind(value: JSONValue) -> str:
    """Name the JSON type of *value*, in the words of JSON and not of Python."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
