"""
What the API lets callers do with jobs, whatever the transport. It knows principals and namespaces, not requests.

Checks come before anything is stored, and all of them at once: the shape of the submit, the limits of the engine, and
the payload by the kind's own schema.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from taskflow import kinds
from taskflow.adapters.address import Refused, parse_url
from taskflow.db.query import Connection
from taskflow.engine.client import Engine
from taskflow.engine.job import (
    MAX_BATCH,
    Attempt,
    Cancellation,
    Enqueued,
    Job,
    JobFilter,
    JobId,
    JobPage,
    KindInfo,
    LogLine,
    NewJob,
)
from taskflow.engine.policy import check_new_job
from taskflow.engine.trace import Send
from taskflow.http.validation import field_errors
from taskflow.identity.access import Principal
from taskflow.jobs.catalogue import Catalogue, Kind
from taskflow.jobs.schemas import ChangeJob, SubmitJob
from taskflow.kernel.durations import of_ms
from taskflow.kernel.errors import FieldError, Invalid, NotFound, PayloadTooLarge
from taskflow.kernel.ids import find_id
from taskflow.kernel.json import JSONValue
from taskflow.telemetry.tracing import active

MAX_ERRORS = 100  # of a batch
MAX_KINDS_NAMED = 50  # in the answer to an unknown one
FORCE_FAIL = "forceFail"


class Jobs:
    """
    The jobs of every namespace.

    Args:
        development: whether `forceFail` may be used in payloads of the built-in kinds, and callbacks may go to this
            machine itself.
    """

    def __init__(self, engine: Engine, catalogue: Catalogue, *, development: bool) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._development = development

    # Submitting ------------------------------------------------------------------------------------------------------

    async def prepare(self, principal: Principal, data: JSONValue, headers: Mapping[str, str]) -> NewJob:
        """
        Turn a decoded submit into a job for `submit`, which checks the engine's own limits.

        Args:
            headers: ride along with the job, unseen by its handler.

        Raises:
            Invalid: naming every bad field; with the code `unknown_kind`, the kinds there are.
            PayloadTooLarge: its JSON is over the limit.
        """
        try:
            submit = SubmitJob.model_validate(data)
        except ValidationError as error:
            errors = [*field_errors(error), *await self.payload_errors_of(principal, data)]
            raise Invalid("the job has invalid fields", errors=errors) from None
        name = kinds.canonical(submit.taskType)
        kind = await self._catalogue.find(name, principal.namespace)
        if kind is None:
            raise await self._unknown(principal, submit.taskType)
        info = kind.info
        job = NewJob(
            kind=name,
            payload=submit.payload,
            namespace=principal.namespace,
            queue=info.queue if submit.queue is None else submit.queue,
            priority=info.priority if submit.priority is None else submit.priority,
            retries=info.retries if submit.retries is None else submit.retries,
            timeout_s=info.timeout_s if submit.timeout is None else submit.timeout / 1000,
            run_at=submit.runAt,
            run_after=of_ms(submit.delay),
            callback_url=submit.callbackUrl,
            unique_key=submit.uniqueKey,
            unique_scope=submit.uniqueScope,
            unique_window=of_ms(submit.uniqueWindow),
            expires_at=submit.expiresAt,
            expires_after=of_ms(submit.ttl),
            tags=submit.tags,
            headers=headers,
        )
        if errors := [*self._callback_errors(job.callback_url), *self._payload_errors(kind, submit.payload)]:
            # The engine checks its limits itself; asked here too, so that one answer names everything that is wrong.
            try:
                check_new_job(job)
            except Invalid as error:
                found = {item.pointer for item in errors}
                errors = [*(item for item in error.errors if item.pointer not in found), *errors]
            raise Invalid("the job has invalid fields", errors=errors)
        return job

    async def prepare_batch(self, principal: Principal, data: JSONValue, headers: Mapping[str, str]) -> list[NewJob]:
        """
        Turn a decoded batch into jobs for `submit_batch`.

        Raises:
            Invalid: naming every bad field of every job, up to `MAX_ERRORS`; pointers begin with the job's index.
        """
        if not isinstance(data, list):
            detail = "the body must be a JSON array of jobs"
            raise Invalid(detail, errors=[FieldError("", "wrong_type", detail)])
        if not 1 <= len(data) <= MAX_BATCH:
            detail = f"a batch has from 1 to {MAX_BATCH} jobs, got {len(data)}"
            raise Invalid(detail, errors=[FieldError("", "too_many" if data else "too_few", detail)])
        jobs: list[NewJob] = []
        errors: list[FieldError] = []
        for index, item in enumerate(data):
            try:
                job = await self.prepare(principal, item, headers)
                check_new_job(job)
                jobs.append(job)
            except Invalid as error:
                errors += [FieldError(f"/{index}{e.pointer}", e.code, e.detail) for e in error.errors]
                if not isinstance(item, dict):
                    errors[-1] = FieldError(f"/{index}", "wrong_type", "must be a JSON object")
            except PayloadTooLarge as error:
                errors.append(FieldError(f"/{index}/payload", "payload_too_large", str(error)))
            if len(errors) >= MAX_ERRORS:
                break
        if errors:
            raise Invalid("the batch has invalid jobs; none was stored", errors=errors[:MAX_ERRORS])
        return jobs

    async def submit_batch(self, jobs: Sequence[NewJob], *, connection: Connection | None = None) -> list[Enqueued]:
        """Store jobs of `prepare_batch`, all or none; with *connection*, call `wake` after the commit."""
        with Send(jobs, active()) as send:
            stored = await self._engine.enqueue_many(send.jobs, connection=connection, checked=True)
            send.stored(stored)
        return stored

    async def submit(self, job: NewJob, *, connection: Connection | None = None) -> Enqueued:
        """Store a prepared job; with *connection*, in its transaction, and then call `wake` after the commit."""
        with Send([job], active()) as send:
            enqueued = await self._engine.enqueue(send.jobs[0], connection=connection)
            send.stored([enqueued])
        return enqueued

    async def submit_many(self, jobs: Sequence[NewJob], *, connection: Connection) -> list[Enqueued]:
        """
        Store prepared jobs that passed `check_new_job`, all or none, in the transaction of *connection*.

        Call `wake` after the commit.
        """
        with Send(jobs, active()) as send:
            stored = await self._engine.enqueue_many(send.jobs, connection=connection, checked=True)
            send.stored(stored)
        return stored

    async def make_partitions(self) -> None:
        """Make today's partitions where nobody did (a deployment that slept)."""
        await self._engine.make_partitions()

    def wake(self, queues: Iterable[str]) -> None:
        """Tell workers of jobs stored or replayed in a transaction that has just committed."""
        self._engine.wake(queues)

    # Looking ---------------------------------------------------------------------------------------------------------

    async def get_job(self, principal: Principal, job_id: JobId, *, connection: Connection | None = None) -> Job:
        return await self._engine.get_job(job_id, namespace=principal.namespace, connection=connection)

    async def get_job_with_attempts(self, principal: Principal, job_id: JobId) -> tuple[Job, list[Attempt]]:
        job = await self._engine.get_job(job_id, namespace=principal.namespace)
        if not job.attempt:
            return job, []
        return job, await self._engine.list_attempts(job_id, namespace=principal.namespace)

    async def list_jobs(self, principal: Principal, chosen: JobFilter, *, limit: int, before: JobId | None) -> JobPage:
        return await self._engine.list_jobs(principal.namespace, chosen, limit=limit, before=before)

    async def list_logs(self, principal: Principal, job_id: JobId, *, after_seq: int, limit: int) -> list[LogLine]:
        return await self._engine.list_logs(job_id, after_seq=after_seq, limit=limit, namespace=principal.namespace)

    async def list_kinds(self, principal: Principal) -> Sequence[KindInfo]:
        return await self._catalogue.list_kinds(principal.namespace)

    # Changing --------------------------------------------------------------------------------------------------------

    async def cancel(
        self, principal: Principal, job_id: JobId, *, connection: Connection | None = None
    ) -> Cancellation:
        """Cancel, or ask the worker to. With *connection*, call `announce_cancel` after the commit."""
        return await self._engine.cancel(job_id, namespace=principal.namespace, connection=connection)

    def announce_cancel(self, job_id: JobId) -> None:
        self._engine.announce_cancel(job_id)

    async def replay(self, principal: Principal, job_id: JobId, *, connection: Connection | None = None) -> Job:
        """Run a failed job again. With *connection*, call `wake` after the commit."""
        return await self._engine.replay(job_id, namespace=principal.namespace, connection=connection)

    async def run_now(self, principal: Principal, job_id: JobId, *, connection: Connection | None = None) -> Job:
        """Make a job that waits for its time ready. With *connection*, call `wake` after the commit."""
        return await self._engine.run_now(job_id, namespace=principal.namespace, connection=connection)

    def check_change(self, data: JSONValue) -> ChangeJob:
        """Return what is to be changed. Raises Invalid."""
        try:
            change = ChangeJob.model_validate(data)
        except ValidationError as error:
            raise Invalid("the change has invalid fields", errors=field_errors(error)) from None
        if change.runAt is not None and change.delay is not None:
            raise Invalid(
                "the change has invalid fields",
                errors=[FieldError("/runAt", "exclusive", "give runAt or delay, not both")],
            )
        if change.priority is None and change.runAt is None and change.delay is None:
            detail = "give priority, runAt or delay"
            raise Invalid(detail, errors=[FieldError("", "required", detail)])
        return change

    async def change(
        self, principal: Principal, job_id: JobId, change: ChangeJob, *, connection: Connection | None = None
    ) -> Job:
        """Change a job before it is active. With *connection*, call `wake` after the commit."""
        return await self._engine.change(
            job_id,
            priority=change.priority,
            run_at=change.runAt,
            run_after=of_ms(change.delay),
            namespace=principal.namespace,
            connection=connection,
        )

    # Checks ----------------------------------------------------------------------------------------------------------

    async def payload_errors_of(self, principal: Principal, data: JSONValue) -> list[FieldError]:
        """What can be said of the payload although the request around it is wrong."""
        if not isinstance(data, dict):
            return []
        name, payload = data.get("taskType"), data.get("payload")
        if not isinstance(name, str) or not isinstance(payload, dict):
            return []
        kind = await self._catalogue.find(kinds.canonical(name), principal.namespace)
        return [] if kind is None else self._payload_errors(kind, payload)

    def _callback_errors(self, url: str | None) -> list[FieldError]:
        return [] if url is None else self._url_errors("/callbackUrl", url)

    def _url_errors(self, pointer: str, url: str) -> list[FieldError]:
        """What can be seen of a URL without asking a resolver; names are checked again when they are called."""
        try:
            parse_url(url, allow_loopback=self._development)
        except Refused as refusal:
            return [FieldError(pointer, "refused_url", str(refusal))]
        return []

    def _payload_errors(self, kind: Kind, payload: Mapping[str, Any]) -> list[FieldError]:
        errors = kind.payload_errors(payload)
        if kind.info.kind == kinds.sync.NAME and isinstance(payload.get("url"), str) and not errors:
            errors += self._url_errors("/payload/url", payload["url"])
        if FORCE_FAIL in payload and not self._development and kind.info.kind in kinds.BUILTIN:
            detail = "is for trying things out; this deployment runs in production mode and refuses it"
            errors.append(FieldError(f"/payload/{FORCE_FAIL}", "development_only", detail))
        return errors

    async def _unknown(self, principal: Principal, name: str) -> Invalid:
        known = [info.kind for info in await self._catalogue.list_kinds(principal.namespace)]
        named = ", ".join(known[:MAX_KINDS_NAMED]) + (" …" if len(known) > MAX_KINDS_NAMED else "")
        detail = f"no worker has ever offered {name!r}; known are: {named}" if known else "no worker has started yet"
        return Invalid(
            detail,
            code="unknown_kind",
            errors=[FieldError("/taskType", "unknown_kind", detail)],
            facts={"knownKinds": known[:MAX_KINDS_NAMED]},
        )


def job_id_of(text: str) -> JobId:
    """Return the job id that *text* is. Raises NotFound: what is no id belongs to no job."""
    if (found := find_id(text)) is None:
        raise NotFound(f"there is no job {text[:100]!r}")
    return JobId(found)
