"""What is checked of kinds before they are published: their names, and schemas that somebody else wrote."""

import msgspec

from taskflow.engine import policy
from taskflow.engine.job import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S, PRIORITY_NORMAL, KindInfo, NewJob
from taskflow.engine.payload import MAX_DETAIL_CHARS, PayloadSchema
from taskflow.jobs.remote.schemas import MAX_SCHEMA_BYTES, KindSaid, PublishKinds
from taskflow.jobs.remote.weight import find_costly
from taskflow.kernel.errors import FieldError, Invalid
from taskflow.kernel.json import find_unstorable


def check_kinds(said: PublishKinds) -> list[KindInfo]:
    """Return the kinds that a request describes. Raises Invalid, naming every bad field."""
    errors: list[FieldError] = []
    infos: list[KindInfo] = []
    names: set[str] = set()
    for index, kind in enumerate(said.kinds):
        place = f"/kinds/{index}"
        info = _info(kind)
        errors += [FieldError(place + e.pointer, e.code, e.detail) for e in _errors(info)]
        if info.kind in names:
            errors.append(FieldError(f"{place}/taskType", "given_twice", "is given more than once"))
        names.add(info.kind)
        infos.append(info)
    if errors:
        raise Invalid("the kinds have invalid fields; nothing was published", errors=errors)
    return infos


def _info(said: KindSaid) -> KindInfo:
    return KindInfo(
        kind=said.taskType,
        queue=said.queue,
        schema=said.schema_,
        retries=DEFAULT_RETRIES if said.retries is None else said.retries,
        timeout_s=DEFAULT_TIMEOUT_S if said.timeout is None else said.timeout / 1000,
        priority=PRIORITY_NORMAL if said.priority is None else said.priority,
    )


def _errors(info: KindInfo) -> list[FieldError]:
    """Return what is wrong with a kind: its names by the engine's rules, its schema by JSON Schema's own."""
    errors: list[FieldError] = []
    try:
        policy.check_new_job(NewJob(info.kind, {}, queue=info.queue))
    except Invalid as error:
        errors += error.errors
    if found := find_unstorable(info.schema):
        return [*errors, FieldError(f"/schema{found[0]}", "unstorable", found[1])]
    size_bytes = len(msgspec.json.encode(info.schema))
    if size_bytes > MAX_SCHEMA_BYTES:
        detail = f"is {size_bytes} bytes of JSON, the limit is {MAX_SCHEMA_BYTES}"
        return [*errors, FieldError("/schema", "too_large", detail)]
    if costly := find_costly(info.schema):
        return [*errors, costly]
    try:
        PayloadSchema(info.schema, foreign=True)
    except ValueError as error:
        detail = f"is no JSON Schema that can be used: {error}"[:MAX_DETAIL_CHARS]
        errors.append(FieldError("/schema", "bad_schema", detail))
    return errors
