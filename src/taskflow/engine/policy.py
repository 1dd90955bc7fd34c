"""
What is allowed and what happens next: pure functions over `engine.job`'s values, no clock, no connection.

Checks of a submit raise one `Invalid` that names every bad field and its limit, with the field names of the JSON API.
"""

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import TypeAlias

import msgspec

from taskflow.engine.job import (
    DELIVERY_QUEUE,
    MAX_CALLBACK_URL_LENGTH,
    MAX_CRASHES,
    MAX_DELAY_S,
    MAX_NAME_LENGTH,
    MAX_PAYLOAD_BYTES,
    MAX_PRIORITY,
    MAX_RESULT_BYTES,
    MAX_RETRIES,
    MAX_TAGS,
    MAX_TIMEOUT_S,
    MAX_UNIQUE_KEY_LENGTH,
    MAX_UNIQUE_WINDOW_S,
    Claim,
    FailureReason,
    JobError,
    NewJob,
    Outcome,
    OutcomeKind,
    State,
    UniqueScope,
)
from taskflow.kernel.backoff import backoff_s
from taskflow.kernel.errors import FieldError, Invalid, PayloadTooLarge
from taskflow.kernel.json import JSONObject, JSONValue, find_unstorable, storable

MAX_ERROR_CHARS = 2000
MAX_TRACEBACK_CHARS = 8000
MIN_TIMEOUT_S = 0.001
MAX_RUN_YEAR = 9000  # the last instants of the calendar are not what they seem in PostgreSQL or in another zone

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.:/-]{{0,{MAX_NAME_LENGTH - 1}}}")

# failures so far → seconds until the next attempt
Backoff: TypeAlias = "Callable[[int], float]"


def default_backoff(failures: int) -> float:
    """`2 ** failures` seconds and up to 999 ms more, at most an hour (acceptance S2-19)."""
    return backoff_s(failures, rng=_RNG)


_RNG = random.Random()  # noqa: S311 -- spreads retries, guards nothing


def check_queue_name(name: str) -> None:
    """Raise Invalid unless a queue can have that name."""
    if errors := _name_errors("name", name):
        raise Invalid("that cannot be a queue's name", errors=errors)


def check_new_job(job: NewJob) -> None:
    """
    Raise unless *job* can be stored as it is.

    Raises:
        Invalid: with one `FieldError` per bad field.
        PayloadTooLarge: the payload's JSON is over `MAX_PAYLOAD_BYTES`.
    """
    errors = []
    if not (_is_name(job.kind) and _is_name(job.queue)):
        errors += [*_name_errors("/taskType", job.kind), *_name_errors("/queue", job.queue)]
    if not 0 <= job.priority <= MAX_PRIORITY:
        errors.append(FieldError("/priority", "out_of_range", f"must be from 0 to {MAX_PRIORITY}, got {job.priority}"))
    if not 0 <= job.retries <= MAX_RETRIES:
        errors.append(FieldError("/retries", "out_of_range", f"must be from 0 to {MAX_RETRIES}, got {job.retries}"))
    if not MIN_TIMEOUT_S <= job.timeout_s <= MAX_TIMEOUT_S:
        limits = f"must be from {MIN_TIMEOUT_S * 1000:g} to {MAX_TIMEOUT_S * 1000:.0f} ms"
        errors.append(FieldError("/timeout", "out_of_range", f"{limits}, got {job.timeout_s * 1000:g}"))
    if not is_plain(job):
        errors += [*_time_errors(job), *_expiry_errors(job), *_unique_errors(job)]
        if job.callback_url is not None:
            errors += _callback_errors(job.callback_url)
    if job.tags:
        errors += _tag_errors(job.tags)
    if found := find_unstorable(job.payload):
        errors.append(FieldError(f"/payload{found[0]}", "unstorable", found[1]))
    if job.headers and (found := find_unstorable(job.headers)):
        errors.append(FieldError(f"/headers{found[0]}", "unstorable", found[1]))
    if errors:
        raise Invalid("the job has invalid fields", errors=errors)
    payload_bytes(job.payload)


def check_job_of_many(place: int, job: NewJob) -> None:
    """Check one job of many as `check_new_job` does; the pointers of an Invalid begin with its place."""
    try:
        check_new_job(job)
    except Invalid as error:
        named = [FieldError(f"/{place}{e.pointer}", e.code, e.detail) for e in error.errors]
        raise Invalid(f"job {place} has invalid fields", errors=named) from error


def is_plain(job: NewJob) -> bool:
    """Say whether *job* has no time, no expiry, no unique key and no callback, as nearly all have none."""
    return (
        job.run_at is None
        and job.run_after is None
        and job.expires_at is None
        and job.expires_after is None
        and job.unique_key is None
        and job.unique_scope is None
        and job.unique_window is None
        and job.callback_url is None
    )


def encode_payload(payload: JSONObject) -> str:
    """Return the JSON text of a payload. Raises PayloadTooLarge over `MAX_PAYLOAD_BYTES`."""
    return payload_bytes(payload).decode()


def payload_bytes(payload: JSONObject) -> bytes:
    """Return the JSON of a payload in UTF-8. Raises PayloadTooLarge over `MAX_PAYLOAD_BYTES`."""
    text = msgspec.json.encode(payload)
    if len(text) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLarge(f"the payload is {len(text)} bytes of JSON, the limit is {MAX_PAYLOAD_BYTES}")
    return text


def scope_of(job: NewJob) -> UniqueScope | None:
    """Return for how long *job* holds its unique key, None without one."""
    if job.unique_key is None:
        return None
    return job.unique_scope or UniqueScope.UNTIL_FINISHED


def encode_result(result: "JSONValue | msgspec.Struct") -> "str | JobError":
    """
    Return the JSON text of what a handler returned, or why it cannot be kept.

    A result that is not JSON, that `jsonb` cannot hold or that is over `MAX_RESULT_BYTES` is found here, so that it is
    the attempt's error and not a lost flush. It fails the job for good: running the handler again would only repeat
    its work.
    """
    try:
        text = msgspec.json.encode(result)
        reason = _result_fault(text)
    except (TypeError, ValueError, RecursionError) as error:
        return JobError("InvalidResult", f"the handler's result is not JSON: {error}")
    return text.decode() if reason is None else JobError("InvalidResult", f"the handler's result {reason}")


def completed(claim: Claim, result: str, duration_s: float | None) -> Outcome:
    """The handler returned *result*, as `encode_result` gave it."""
    return Outcome(claim, OutcomeKind.COMPLETED, State.COMPLETED, claim.failures, result=result, duration_s=duration_s)


def succeeded(claim: Claim, result: "JSONValue | msgspec.Struct", duration_s: float | None) -> Outcome:
    """The handler returned *result*, still to be encoded; a bad one fails the job for good."""
    text = encode_result(result)
    if isinstance(text, JobError):
        return failed_for_good(claim, text, duration_s)
    return completed(claim, text, duration_s)


def failed(
    claim: Claim,
    kind: OutcomeKind,
    error: JobError,
    duration_s: float | None,
    *,
    backoff: Backoff = default_backoff,
    retry_after_s: float | None = None,
) -> Outcome:
    """
    The attempt failed by *kind* error or timeout: charge it, and retry unless that exhausts the job's retries.

    *retry_after_s* is what the failed system or the handler asked for; it replaces the backoff.
    """
    failures = claim.failures + 1
    if failures > claim.retries:
        return Outcome(
            claim, kind, State.FAILED, failures, error=cut_error(error),
            failure_reason=FailureReason.EXHAUSTED, duration_s=duration_s,
        )  # fmt: skip
    wait_s = backoff(failures) if retry_after_s is None else retry_after_s
    return Outcome(
        claim, kind, State.RETRYING, failures, error=cut_error(error),
        wait_s=min(max(0.0, wait_s), MAX_DELAY_S),  # in this order NaN is 0
        duration_s=duration_s,
    )  # fmt: skip


def failed_for_good(claim: Claim, error: JobError, duration_s: float | None) -> Outcome:
    """The handler's own verdict, or something no retry can mend."""
    return Outcome(
        claim, OutcomeKind.ERROR, State.FAILED, claim.failures + 1, error=cut_error(error),
        failure_reason=FailureReason.PERMANENT, duration_s=duration_s,
    )  # fmt: skip


def crashed(claim: Claim, error: JobError, duration_s: float | None, *, backoff: Backoff = default_backoff) -> Outcome:
    """
    The attempt ended the child process that it ran in alone: that is the job's own doing.

    It is not charged to its failures but to its crashes, and at `MAX_CRASHES` nobody risks another process on it.
    """
    crashes = claim.crashes + 1
    if crashes >= MAX_CRASHES:
        return Outcome(
            claim, OutcomeKind.CRASHED, State.FAILED, claim.failures, error=cut_error(error),
            failure_reason=FailureReason.CRASH_LIMIT, duration_s=duration_s,
        )  # fmt: skip
    return Outcome(
        claim, OutcomeKind.CRASHED, State.RETRYING, claim.failures, error=cut_error(error),
        wait_s=min(max(0.0, backoff(crashes)), MAX_DELAY_S), duration_s=duration_s,
    )  # fmt: skip


def snoozed(claim: Claim, wait_s: float, duration_s: float | None) -> Outcome:
    """The handler wants to run again later; nothing is charged."""
    return Outcome(
        claim, OutcomeKind.SNOOZED, State.SCHEDULED, claim.failures,
        wait_s=min(max(0.0, wait_s), MAX_DELAY_S), duration_s=duration_s,
    )  # fmt: skip


def cancelled(claim: Claim, duration_s: float | None) -> Outcome:
    """The attempt was stopped because somebody asked for it, or the handler said so."""
    return Outcome(claim, OutcomeKind.CANCELLED, State.CANCELLED, claim.failures, duration_s=duration_s)


def handed_back(claim: Claim, duration_s: float | None = None) -> Outcome:
    """The worker cannot (go on to) run it now: somebody else shall, and nothing is charged."""
    return Outcome(claim, OutcomeKind.HANDED_BACK, State.PENDING, claim.failures, duration_s=duration_s)


def queues_to_wake(ended: Iterable[Claim]) -> set[str]:
    """Return the queues where others may go on after these attempts: a place came free, a delivery is to be made."""
    queues = set()
    for claim in ended:
        if claim.limited:
            queues.add(claim.queue)
        if claim.settles:
            queues.add(DELIVERY_QUEUE)
    return queues


def cut_error(error: JobError) -> JobError:
    """Bound an error's texts, and drop what PostgreSQL text cannot hold."""
    traceback = error.traceback
    return replace(
        error,
        type=storable(error.type)[:MAX_NAME_LENGTH],
        message=storable(error.message)[:MAX_ERROR_CHARS],
        traceback=storable(traceback)[-MAX_TRACEBACK_CHARS:] if traceback else None,
    )


def _result_fault(text: bytes) -> str | None:
    if len(text) > MAX_RESULT_BYTES:
        return f"is {len(text)} bytes of JSON, the limit is {MAX_RESULT_BYTES}"
    if b"\\u0000" in text and (found := find_unstorable(msgspec.json.decode(text))):
        return f"at {found[0]!r} {found[1]}"
    return None


@lru_cache(maxsize=1024)  # the same few names come again and again
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def _tag_errors(tags: Sequence[str]) -> list[FieldError]:
    errors = []
    if len(tags) > MAX_TAGS:
        errors.append(FieldError("/tags", "too_many", f"at most {MAX_TAGS} tags, got {len(tags)}"))
    for index, tag in enumerate(tags):
        if not 1 <= len(tag) <= MAX_NAME_LENGTH or not tag.isprintable():
            detail = f"must be 1 to {MAX_NAME_LENGTH} printable characters"
            errors.append(FieldError(f"/tags/{index}", "invalid_tag", detail))
    return errors


def _name_errors(pointer: str, name: str) -> list[FieldError]:
    if _is_name(name):
        return []
    detail = f"must be 1 to {MAX_NAME_LENGTH} characters of A-Z a-z 0-9 _ . : / - and begin with a letter or digit"
    return [FieldError(pointer, "invalid_name", detail)]


def _callback_errors(url: str) -> list[FieldError]:
    """What can never be stored or called; which addresses may be called is decided where callers are known."""
    if not url.lower().startswith(("http://", "https://")):
        return [FieldError("/callbackUrl", "invalid_url", "must start with http:// or https://")]
    if len(url) > MAX_CALLBACK_URL_LENGTH or not url.isascii() or not url.isprintable() or " " in url:
        limits = f"must be at most {MAX_CALLBACK_URL_LENGTH} printable ASCII characters without spaces"
        return [FieldError("/callbackUrl", "invalid_url", limits)]
    return []


def _time_errors(job: NewJob) -> list[FieldError]:
    if job.run_at is not None and job.run_after is not None:
        return [FieldError("/runAt", "exclusive", "give runAt or delay, not both")]
    if job.run_at is not None and job.run_at.tzinfo is None:
        return [FieldError("/runAt", "no_time_zone", "must have a time zone, such as Z")]
    if job.run_at is not None and job.run_at.year >= MAX_RUN_YEAR:
        return [FieldError("/runAt", "out_of_range", f"must be before the year {MAX_RUN_YEAR}")]
    if job.run_after is not None and not timedelta(0) <= job.run_after <= timedelta(seconds=MAX_DELAY_S):
        return [FieldError("/delay", "out_of_range", f"must be from 0 to {MAX_DELAY_S * 1000:.0f} ms")]
    return []


def _expiry_errors(job: NewJob) -> list[FieldError]:
    if job.expires_at is not None and job.expires_after is not None:
        return [FieldError("/expiresAt", "exclusive", "give expiresAt or ttl, not both")]
    if job.expires_after is not None and not timedelta(0) < job.expires_after <= timedelta(seconds=MAX_DELAY_S):
        return [FieldError("/ttl", "out_of_range", f"must be from 1 to {MAX_DELAY_S * 1000:.0f} ms")]
    if job.expires_at is not None and job.expires_at.tzinfo is None:
        return [FieldError("/expiresAt", "no_time_zone", "must have a time zone, such as Z")]
    if job.expires_at is not None and job.expires_at.year >= MAX_RUN_YEAR:
        return [FieldError("/expiresAt", "out_of_range", f"must be before the year {MAX_RUN_YEAR}")]
    # Which of an instant and a span comes first, only the database's clock could tell; and by a ttl beside runAt most
    # would mean one from there on.
    if job.expires_after is not None and job.run_at is not None:
        detail = "counts from the submit, so it does not go with runAt: give expiresAt with runAt, or ttl with delay"
        return [FieldError("/ttl", "exclusive", detail)]
    if job.expires_at is not None and job.run_after is not None:
        detail = "does not go with delay, which counts from the submit: give expiresAt with runAt, or ttl with delay"
        return [FieldError("/expiresAt", "exclusive", detail)]
    late = "must be after the instant at which the job is due"
    if job.expires_at is not None and job.run_at is not None and job.run_at.tzinfo and job.expires_at <= job.run_at:
        return [FieldError("/expiresAt", "before_due", late)]
    if job.expires_after is not None and job.run_after is not None and job.expires_after <= job.run_after:
        return [FieldError("/ttl", "before_due", late)]
    return []


def _unique_errors(job: NewJob) -> list[FieldError]:
    if job.unique_key is None:
        given = (("/uniqueScope", job.unique_scope), ("/uniqueWindow", job.unique_window))
        return [
            FieldError(pointer, "needs_key", "goes with a unique key") for pointer, value in given if value is not None
        ]
    errors = []
    if not 1 <= len(job.unique_key) <= MAX_UNIQUE_KEY_LENGTH or not job.unique_key.isprintable():
        detail = f"must be 1 to {MAX_UNIQUE_KEY_LENGTH} printable characters"
        errors.append(FieldError("/uniqueKey", "invalid_key", detail))
    if job.unique_scope is UniqueScope.WINDOW:
        if job.unique_window is None:
            errors.append(FieldError("/uniqueWindow", "required", "is required with the scope window"))
        elif not timedelta(0) < job.unique_window <= timedelta(seconds=MAX_UNIQUE_WINDOW_S):
            limits = f"must be from 1 to {MAX_UNIQUE_WINDOW_S * 1000:.0f} ms"
            errors.append(FieldError("/uniqueWindow", "out_of_range", limits))
    elif job.unique_window is not None:
        errors.append(FieldError("/uniqueWindow", "exclusive", "goes with the scope window only"))
    return errors
