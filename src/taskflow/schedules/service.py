"""
What the API lets callers do with schedules, whatever the transport; see `jobs.service`, by which the job of a schedule
is checked as if it were submitted now.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeGuard, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from taskflow.db.query import Connection
from taskflow.engine.job import Enqueued, Job, JobId, NewJob, UniqueScope
from taskflow.engine.policy import check_new_job
from taskflow.engine.schedule import Schedule, ScheduleId, SchedulePlan, Tick, rule_errors, timing_errors
from taskflow.engine.schedules import PREVIEW
from taskflow.engine.schedules import Schedules as EngineSchedules
from taskflow.http.validation import field_errors
from taskflow.identity.access import Principal
from taskflow.jobs.service import Jobs
from taskflow.kernel.cron import upcoming
from taskflow.kernel.errors import FieldError, Invalid, NotFound
from taskflow.kernel.ids import find_id
from taskflow.kernel.json import JSONValue
from taskflow.schedules.schemas import CreateSchedule, Timing, UpdateSchedule, document_of, plan_of, timing_of

_M = TypeVar("_M", bound=BaseModel)

_JOB_FIELDS = (
    *("taskType", "payload", "queue", "priority", "retries", "timeout", "tags"),
    *("callbackUrl", "ttl", "uniqueKey", "uniqueScope", "uniqueWindow"),
)


class Schedules:
    """The schedules of every namespace."""

    def __init__(self, schedules: EngineSchedules, jobs: Jobs) -> None:
        self._schedules = schedules
        self._jobs = jobs

    # Making ----------------------------------------------------------------------------------------------------------

    async def prepare(self, principal: Principal, data: JSONValue) -> tuple[SchedulePlan, bool]:
        """
        Turn a decoded request into a plan for `create`, and whether it starts paused.

        Raises:
            Invalid: naming every bad field, of the schedule and of its job.
            PayloadTooLarge: the payload's JSON is over the limit.
        """
        try:
            asked = _read(CreateSchedule, data)
        except Invalid as refusal:
            more = [*_rule_errors_of(data), *await self._jobs.payload_errors_of(principal, data)]
            raise _with_more(refusal, more) from None
        plan = plan_of(asked, principal.namespace)
        await self._check(principal, plan)
        return plan, asked.paused

    async def create(self, plan: SchedulePlan, *, paused: bool, connection: Connection) -> Schedule:
        return await self._schedules.create(plan, paused=paused, connection=connection)

    async def preview(self, principal: Principal, data: JSONValue) -> tuple[Timing, list[datetime]]:
        """Return when a schedule with that timing would fire next. Raises Invalid."""
        try:
            asked = _read(Timing, data)
        except Invalid as refusal:
            raise _with_more(refusal, _rule_errors_of(data)) from None
        plan = SchedulePlan(
            name="preview", kind="preview", payload={}, namespace=principal.namespace, **timing_of(asked)
        )
        return asked, await self._schedules.preview(plan, count=PREVIEW)

    # Looking ---------------------------------------------------------------------------------------------------------

    async def get(
        self, principal: Principal, schedule_id: ScheduleId, *, connection: Connection | None = None
    ) -> Schedule:
        return await self._schedules.get(schedule_id, principal.namespace, connection=connection)

    async def find(self, principal: Principal, name: str) -> Schedule | None:
        return await self._schedules.find_by_name(name, principal.namespace)

    async def list_schedules(self, principal: Principal, *, before: UUID | None, limit: int) -> list[Schedule]:
        return await self._schedules.list_schedules(principal.namespace, before=before, limit=limit)

    async def list_ticks(
        self, principal: Principal, schedule_id: ScheduleId, *, before: datetime | None, limit: int
    ) -> list[Tick]:
        return await self._schedules.list_ticks(schedule_id, principal.namespace, before=before, limit=limit)

    # Changing --------------------------------------------------------------------------------------------------------

    async def prepare_update(
        self, principal: Principal, schedule_id: ScheduleId, data: JSONValue
    ) -> tuple[Schedule, SchedulePlan]:
        """
        Return the schedule as it is, and the plan that a decoded change makes of it, for `update`.

        Raises:
            NotFound: no such schedule in the principal's namespace.
            Invalid: naming every bad field.
        """
        try:
            changes = _read(UpdateSchedule, data)
        except Invalid as refusal:
            raise _with_more(refusal, _rule_errors_of(data)) from None
        if not changes.model_fields_set:
            detail = "names nothing that is to be different"
            raise Invalid("the change is empty", errors=[FieldError("", "required", detail)])
        seen = await self._schedules.get(schedule_id, principal.namespace)
        document = document_of(seen.plan)
        given = {name: getattr(changes, name) for name in changes.model_fields_set}
        if "cron" in given and "every" not in given:
            document["every"] = None
        if given.get("every") is not None and "cron" not in given:
            document["cron"] = None
        if "uniqueKey" in given and given["uniqueKey"] is None:
            document |= {"uniqueScope": None, "uniqueWindow": None}
        elif "uniqueScope" in given and given["uniqueScope"] is not UniqueScope.WINDOW:
            document["uniqueWindow"] = None
        plan = plan_of(CreateSchedule.model_construct(**{**document, **given}), principal.namespace)
        await self._check(principal, plan)
        return seen, plan

    async def update(self, seen: Schedule, plan: SchedulePlan, *, connection: Connection) -> Schedule:
        return await self._schedules.update(seen, plan, connection=connection)

    async def pause(self, principal: Principal, schedule_id: ScheduleId, *, connection: Connection) -> Schedule:
        return await self._schedules.pause(schedule_id, principal.namespace, connection=connection)

    async def resume(self, principal: Principal, schedule_id: ScheduleId, *, connection: Connection) -> Schedule:
        return await self._schedules.resume(schedule_id, principal.namespace, connection=connection)

    async def delete(self, principal: Principal, schedule_id: ScheduleId, *, connection: Connection) -> None:
        await self._schedules.delete(schedule_id, principal.namespace, connection=connection)

    async def run_now(
        self, principal: Principal, schedule_id: ScheduleId, *, connection: Connection
    ) -> tuple[NewJob, Enqueued]:
        """Submit its job now, or give the one that holds its unique key. Call `wake` after the commit."""
        return await self._schedules.run_now(schedule_id, principal.namespace, connection=connection)

    async def get_job(self, principal: Principal, job_id: JobId, *, connection: Connection) -> Job:
        return await self._jobs.get_job(principal, job_id, connection=connection)

    def wake(self, queues: Iterable[str]) -> None:
        """Tell workers of jobs submitted in a transaction that has just committed."""
        self._jobs.wake(queues)

    # Checks ----------------------------------------------------------------------------------------------------------

    async def _check(self, principal: Principal, plan: SchedulePlan) -> None:
        """Raise Invalid with everything that is wrong with *plan*: its name, its times, and its job by its kind."""
        errors: list[FieldError] = []
        if not plan.name.isprintable() or plan.name != plan.name.strip():
            errors.append(FieldError("/name", "invalid_name", "must be printable, and not begin or end with a space"))
        errors += timing_errors(plan, _SOME_DAY)
        document = document_of(plan)
        refusal = None
        try:
            job = await self._jobs.prepare(principal, {name: document[name] for name in _JOB_FIELDS}, {})
            check_new_job(job)
        except Invalid as error:
            refusal = error
            errors += error.errors
        if refusal is not None and len(errors) == len(refusal.errors):
            raise refusal
        if errors:
            raise Invalid("the schedule has invalid fields", errors=errors)


def coming(schedule: Schedule) -> list[datetime]:
    """Return the next times of a schedule, none while it is paused or where its rule cannot be read (any more)."""
    if schedule.next_at is None:
        return []
    try:
        timetable = schedule.plan.timetable(schedule.anchor_at)
    except ValueError:
        return [schedule.next_at]
    return [schedule.next_at, *upcoming(timetable, schedule.next_at, PREVIEW - 1)]


def schedule_id_of(text: str) -> ScheduleId:
    """Return the id that *text* is. Raises NotFound: what is no id belongs to no schedule."""
    if (found := find_id(text)) is None:
        raise NotFound(f"there is no schedule {text[:100]!r}")
    return ScheduleId(found)


_SOME_DAY = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


def _read(model: type[_M], data: JSONValue) -> _M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise Invalid("the schedule has invalid fields", errors=field_errors(error)) from None


def _rule_errors_of(data: JSONValue) -> list[FieldError]:
    """What can be said of the rule although the request around it is wrong."""
    if not isinstance(data, dict):
        return []
    cron, zone = data.get("cron"), data.get("timezone")
    return rule_errors(cron if _is_text(cron) else None, zone if _is_text(zone) else "UTC")


def _with_more(refusal: Invalid, more: Sequence[FieldError]) -> Invalid:
    """Return *refusal* with *more* errors, but for fields that it names already."""
    named = {error.pointer for error in refusal.errors}
    errors = [*refusal.errors, *(error for error in more if error.pointer not in named)]
    return Invalid(refusal.detail, errors=errors)


def _is_text(value: JSONValue) -> TypeGuard[str]:
    return isinstance(value, str)
