"""Makes the job of a schedule, by what its kind asks for now: a schedule may be older than its kind's schema."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from taskflow.db.query import Connection
from taskflow.engine.job import KindInfo, NewJob
from taskflow.engine.policy import check_new_job
from taskflow.engine.schedule import ScheduleId, SchedulePlan
from taskflow.engine.store import Store
from taskflow.kernel.errors import FieldError, Invalid, PayloadTooLarge

if TYPE_CHECKING:
    from taskflow.engine.payload import PayloadSchema

MAX_SCHEMAS = 500  # compiled ones that are kept
HEADER_ID, HEADER_FIRE_AT = "schedule_id", "schedule_fire_at"  # of jobs: which schedule, and which of its instants


class Submission:
    """See the module. Schemas are compiled once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kinds: Mapping[str, tuple[KindInfo, str]] = {}
        self._schemas: dict[tuple[str, str], PayloadSchema] = {}

    async def learn(self, connection: Connection, kinds: Iterable[str]) -> None:
        """Read the kinds that are going to be asked for."""
        self._kinds = {info.kind: (info, hash_) for info, hash_ in await self._store.find_kinds(connection, [*kinds])}

    def job_of(self, plan: SchedulePlan, schedule_id: ScheduleId, fire_at: datetime) -> NewJob:
        """
        Return the job to submit.

        Raises:
            Invalid: no worker has offered the kind, or the payload does not fit its schema.
            PayloadTooLarge: the payload is over the limit.
        """
        found = self._kinds.get(plan.kind)
        if found is None or found[0].namespace not in (None, plan.namespace):
            detail = f"no worker has ever offered {plan.kind!r}"
            raise Invalid(detail, code="unknown_kind", errors=[FieldError("/taskType", "unknown_kind", detail)])
        info, schema_hash = found
        if errors := self._schema_of(info, schema_hash).errors_of(plan.payload):
            raise Invalid(f"the payload does not fit the schema of {plan.kind!r}", errors=errors)
        job = NewJob(
            kind=plan.kind,
            payload=plan.payload,
            namespace=plan.namespace,
            queue=info.queue if plan.queue is None else plan.queue,
            priority=info.priority if plan.priority is None else plan.priority,
            retries=info.retries if plan.retries is None else plan.retries,
            timeout_s=info.timeout_s if plan.timeout_s is None else plan.timeout_s,
            tags=plan.tags,
            callback_url=plan.callback_url,
            unique_key=plan.unique_key,
            unique_scope=plan.unique_scope,
            unique_window=plan.unique_window,
            expires_after=plan.expires_after,
            headers={HEADER_ID: str(schedule_id), HEADER_FIRE_AT: fire_at.isoformat()},
        )
        check_new_job(job)
        return job

    def _schema_of(self, info: KindInfo, schema_hash: str) -> "PayloadSchema":
        from taskflow.engine.payload import PayloadSchema  # 8 MB that a leader without schedules can do without

        key = info.kind, schema_hash
        if (schema := self._schemas.get(key)) is None:
            try:
                schema = PayloadSchema(info.schema, foreign=info.namespace is not None)
            except ValueError as error:
                raise Invalid(f"the schema of {info.kind!r} cannot be read: {error}") from error
            if len(self._schemas) >= MAX_SCHEMAS:
                self._schemas.clear()
            self._schemas[key] = schema
        return schema


def describe(error: Invalid | PayloadTooLarge) -> str:
    """Return what is wrong in one line; each field by its pointer."""
    if isinstance(error, Invalid) and error.errors and error.code != "unknown_kind":
        return f"{error}: " + "; ".join(f"{item.pointer} {item.detail}" for item in error.errors)
    return str(error)
