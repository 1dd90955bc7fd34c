"""
What a JSON Schema that somebody else wrote costs to check: its size with every reference written out.

A few hundred bytes of references to references can stand for more parts than any process can look at, and one that
leads back to itself for endlessly many. Such schemas are refused before they are compiled, because what compiles and
runs them has no limit of its own. Only references that can be followed by looking are taken: `#` and `#/…`.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from taskflow.kernel.errors import FieldError
from taskflow.kernel.json import JSONObject, JSONValue

MAX_WEIGHT = 5_000
MAX_CHAIN = 200  # references and levels, one within the other, that are followed
_DYNAMIC = ("$dynamicRef", "$recursiveRef")
_MOVES_BASE = ("$id", "id", "$schema")  # inside of a schema: these change what a reference there means


class _Refused(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.error = FieldError("/schema", code, detail)


def find_costly(schema: JSONObject) -> FieldError | None:
    """Return why *schema* is not taken, or None. It must not be nested deeper than `kernel.json.MAX_DEPTH`."""
    try:
        total = weight_of(schema)
    except _Refused as refused:
        return refused.error
    if total > MAX_WEIGHT:
        detail = f"has more than {MAX_WEIGHT} parts when every reference is written out, which is the limit"
        return FieldError("/schema", "too_costly", detail)
    return None


def weight_of(schema: JSONObject) -> int:
    """
    Count objects, elements of arrays and booleans, each as often as references lead to it.

    Every part is looked at once, whatever the result; that may be a number of hundreds of digits.
    """
    return _Scale(schema).weigh_all()


class _Scale:
    def __init__(self, schema: JSONObject) -> None:
        self._root = schema
        self._known: dict[int, int] = {}  # by identity: the root holds every part
        self._open: set[int] = set()
        self._depth = 0
        self._refers = _holds_reference(schema)

    def weigh_all(self) -> int:
        return self._weigh(self._root)

    def _weigh(self, part: JSONValue) -> int:
        """Count *part*; a string or a number belongs to the object that it is said in."""
        if isinstance(part, bool):
            return 1
        if isinstance(part, str) or not isinstance(part, Mapping | Sequence):
            return 0
        place = id(part)
        if place in self._known:
            return self._known[place]
        if place in self._open:
            raise _Refused("too_costly", "refers to itself; a schema of any depth has no limit to what it costs")
        if self._depth >= MAX_CHAIN:
            raise _Refused("too_costly", f"has references to references more than {MAX_CHAIN} levels deep")
        self._open.add(place)
        self._depth += 1
        weight = self._weigh_object(part) if isinstance(part, Mapping) else self._weigh_array(part)
        self._depth -= 1
        self._open.discard(place)
        self._known[place] = weight
        return weight

    def _weigh_array(self, part: Sequence[JSONValue]) -> int:
        return sum(max(1, self._weigh(item)) for item in part)

    def _weigh_object(self, part: JSONObject) -> int:
        for name in _DYNAMIC:
            if isinstance(part.get(name), str):
                raise _Refused("too_costly", f"uses {name}, whose cost cannot be told; refer with $ref and #/…")
        if self._refers and part is not self._root:
            for name in _MOVES_BASE:
                if isinstance(part.get(name), str):
                    detail = f"has {name} inside of it, which changes what references mean; leave it out"
                    raise _Refused("bad_schema", detail)
        weight = 1 + sum(map(self._weigh, part.values()))
        if isinstance(reference := part.get("$ref"), str):
            weight += self._weigh(self._follow(reference))
        return weight

    def _follow(self, reference: str) -> JSONValue:
        part: JSONValue = self._root
        shown = reference[:100]
        if reference != "#" and not reference.startswith("#/"):
            raise _Refused("bad_schema", f"refers to {shown!r}; only parts of the schema itself can be meant, as #/…")
        for step in unquote(reference).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(part, Mapping) and name in part:
                part = part[name]
            elif _is_index(part, name):
                part = part[int(name)]  # type: ignore[index]
            else:
                raise _Refused("bad_schema", f"refers to {shown!r}, which is not in it")
        return part


def _is_index(part: JSONValue, name: str) -> bool:
    is_array = isinstance(part, Sequence) and not isinstance(part, str)
    return is_array and name.isascii() and name.isdecimal() and len(name) < 6 and int(name) < len(part)  # type: ignore[arg-type]


def _holds_reference(part: JSONValue) -> bool:
    if isinstance(part, Mapping):
        return isinstance(part.get("$ref"), str) or any(map(_holds_reference, part.values()))
    return isinstance(part, Sequence) and not isinstance(part, str) and any(map(_holds_reference, part))
