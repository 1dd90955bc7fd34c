"""What may be submitted, what an attempt comes to, and how long to wait: pure, so by properties where there are any."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.worksite import OOPS, new_job

from taskflow.engine import policy
from taskflow.engine.job import (
    DEFAULT_NAMESPACE,
    MAX_CRASHES,
    MAX_DELAY_S,
    MAX_NAME_LENGTH,
    MAX_PAYLOAD_BYTES,
    MAX_PRIORITY,
    MAX_RESULT_BYTES,
    MAX_RETRIES,
    MAX_TAGS,
    MAX_TIMEOUT_S,
    Claim,
    FailureReason,
    JobError,
    JobId,
    LeaseId,
    NewJob,
    OutcomeKind,
    State,
)
from taskflow.kernel.errors import Invalid, PayloadTooLarge

kinds_of_failure = st.sampled_from([OutcomeKind.ERROR, OutcomeKind.TIMEOUT])


def claim(*, failures: int = 0, retries: int = 3) -> Claim:
    return Claim(
        lease_id=LeaseId(UUID(int=1)),
        lease_size=1,
        position=0,
        job_id=JobId(UUID(int=2)),
        attempt=failures + 1,
        failures=failures,
        namespace=DEFAULT_NAMESPACE,
        kind="mail",
        queue="default",
        priority=5,
        payload="{}",
        retries=retries,
        timeout_s=30.0,
        headers={},
        queue_wait_s=0.0,
    )


# How long to wait ----------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-19")
@given(failures=st.integers(1, 10_000))
def test_the_wait_is_two_to_the_failures_seconds_and_up_to_999_ms_at_most_an_hour(failures: int) -> None:
    wait_s = policy.default_backoff(failures)
    least_s = min(3600.0, 2.0**failures) if failures < 64 else 3600.0
    assert least_s <= wait_s <= least_s + 0.999


@pytest.mark.covers("S2-19")
def test_the_first_three_waits_are_about_2_4_and_8_seconds_and_differ_between_jobs() -> None:
    for failures, least_s in ((1, 2.0), (2, 4.0), (3, 8.0)):
        waits = {policy.default_backoff(failures) for _ in range(50)}
        assert len(waits) > 40
        assert all(least_s <= wait_s <= least_s + 0.999 for wait_s in waits)


# What may be submitted -----------------------------------------------------------------------------------------------

UTC_NOW = datetime(2026, 11, 23, tzinfo=UTC)
LONG = "x" * (MAX_NAME_LENGTH + 1)

REFUSED: list[tuple[dict[str, Any], str, str, str]] = [
    ({"kind": ""}, "/taskType", "invalid_name", str(MAX_NAME_LENGTH)),
    ({"kind": LONG}, "/taskType", "invalid_name", str(MAX_NAME_LENGTH)),
    ({"kind": "-mail"}, "/taskType", "invalid_name", "begin with a letter or digit"),
    ({"kind": "mail\n"}, "/taskType", "invalid_name", "A-Z"),
    ({"kind": "e mail"}, "/taskType", "invalid_name", "A-Z"),
    ({"queue": "ä"}, "/queue", "invalid_name", "A-Z"),
    ({"priority": -1}, "/priority", "out_of_range", f"0 to {MAX_PRIORITY}"),
    ({"priority": MAX_PRIORITY + 1}, "/priority", "out_of_range", f"0 to {MAX_PRIORITY}"),
    ({"retries": -1}, "/retries", "out_of_range", f"0 to {MAX_RETRIES}"),
    ({"retries": MAX_RETRIES + 1}, "/retries", "out_of_range", f"0 to {MAX_RETRIES}"),
    ({"timeout_s": 0.0}, "/timeout", "out_of_range", "from 1 to 86400000 ms"),
    ({"timeout_s": MAX_TIMEOUT_S + 0.001}, "/timeout", "out_of_range", "86400000"),
    ({"timeout_s": float("nan")}, "/timeout", "out_of_range", "86400000"),
    ({"run_at": datetime(2026, 11, 23)}, "/runAt", "no_time_zone", "time zone"),  # noqa: DTZ001
    ({"run_at": UTC_NOW, "run_after": timedelta(1)}, "/runAt", "exclusive", "not both"),
    ({"run_after": timedelta(seconds=-1)}, "/delay", "out_of_range", f"{MAX_DELAY_S * 1000:.0f} ms"),
    ({"run_after": timedelta(seconds=MAX_DELAY_S + 1)}, "/delay", "out_of_range", f"{MAX_DELAY_S * 1000:.0f} ms"),
    ({"tags": ["t"] * (MAX_TAGS + 1)}, "/tags", "too_many", str(MAX_TAGS)),
    ({"tags": ["fine", ""]}, "/tags/1", "invalid_tag", str(MAX_NAME_LENGTH)),
    ({"tags": [LONG]}, "/tags/0", "invalid_tag", str(MAX_NAME_LENGTH)),
    ({"tags": ["a\x00b"]}, "/tags/0", "invalid_tag", "printable"),
    ({"tags": ["\ud800"]}, "/tags/0", "invalid_tag", "printable"),
    ({"payload": {"a": ["\x00"]}}, "/payload/a/0", "unstorable", "U+0000"),
    ({"payload": {"a/b~c": float("nan")}}, "/payload/a~1b~0c", "unstorable", "finite"),
]


@pytest.mark.parametrize(("fields", "pointer", "code", "limit"), REFUSED)
def test_a_bad_field_is_refused_by_name_and_with_its_limit(
    fields: dict[str, Any], pointer: str, code: str, limit: str
) -> None:
    policy.check_new_job(new_job())
    with pytest.raises(Invalid) as refusal:
        policy.check_new_job(new_job(**fields))
    (error,) = refusal.value.errors
    assert (error.pointer, error.code) == (pointer, code)
    assert limit in error.detail


def test_every_bad_field_is_named_at_once() -> None:
    with pytest.raises(Invalid) as refusal:
        policy.check_new_job(new_job(kind="", priority=99, retries=-1, tags=[""], payload={"a": "\x00"}))
    pointers = [error.pointer for error in refusal.value.errors]
    assert pointers == ["/taskType", "/priority", "/retries", "/tags/0", "/payload/a"]


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "a", "queue": "0"},
        {"kind": "A" + "z" * (MAX_NAME_LENGTH - 1), "queue": "a_b.c:d/e-f"},
        {"priority": 0, "retries": 0, "timeout_s": policy.MIN_TIMEOUT_S},
        {"priority": MAX_PRIORITY, "retries": MAX_RETRIES, "timeout_s": MAX_TIMEOUT_S},
        {"tags": ["ü"] * MAX_TAGS},
        {"tags": ["x" * MAX_NAME_LENGTH]},
        {"run_after": timedelta(0)},
        {"run_after": timedelta(seconds=MAX_DELAY_S)},
        {"run_at": datetime(1970, 1, 1, tzinfo=UTC)},
    ],
)
def test_a_job_at_its_limits_is_taken(fields: dict[str, Any]) -> None:
    policy.check_new_job(new_job(**fields))


def test_a_payload_over_the_limit_is_too_large_and_says_by_how_much() -> None:
    fits = {"t": "x" * (MAX_PAYLOAD_BYTES - len('{"t":""}'))}
    policy.check_new_job(new_job(payload=fits))
    with pytest.raises(PayloadTooLarge, match=f"{MAX_PAYLOAD_BYTES + 1} bytes.*{MAX_PAYLOAD_BYTES}"):
        policy.check_new_job(new_job(payload={"t": fits["t"] + "x"}))


def test_the_limit_counts_bytes_and_not_characters() -> None:
    with pytest.raises(PayloadTooLarge):
        policy.encode_payload({"t": "ü" * (MAX_PAYLOAD_BYTES // 2)})


# What an attempt comes to --------------------------------------------------------------------------------------------


@given(failures=st.integers(0, 20), retries=st.integers(0, MAX_RETRIES), kind=kinds_of_failure)
def test_a_failure_is_charged_and_ends_the_job_when_it_exceeds_the_retries(
    failures: int, retries: int, kind: OutcomeKind
) -> None:
    outcome = policy.failed(claim(failures=failures, retries=retries), kind, OOPS, 1.5)
    assert (outcome.kind, outcome.failures, outcome.error, outcome.duration_s) == (kind, failures + 1, OOPS, 1.5)
    if failures + 1 > retries:
        assert (outcome.state, outcome.failure_reason) == (State.FAILED, FailureReason.EXHAUSTED)
    else:
        assert (outcome.state, outcome.failure_reason) == (State.RETRYING, None)
        assert outcome.wait_s >= 2


@pytest.mark.parametrize("earlier", range(MAX_CRASHES))
def test_a_crash_is_charged_apart_from_failures_and_the_third_ends_the_job(earlier: int) -> None:
    crashing = msgspec.structs.replace(claim(failures=1), crashes=earlier)
    outcome = policy.crashed(crashing, OOPS, 0.5, backoff=lambda crashes: crashes * 10.0)
    assert (outcome.kind, outcome.failures, outcome.crashes) == (OutcomeKind.CRASHED, 1, earlier + 1)
    assert outcome.suspect
    if earlier + 1 == MAX_CRASHES:
        assert (outcome.state, outcome.failure_reason) == (State.FAILED, FailureReason.CRASH_LIMIT)
    else:
        assert (outcome.state, outcome.wait_s) == (State.RETRYING, (earlier + 1) * 10.0)


def test_a_suspect_is_cleared_by_an_attempt_that_ends_by_itself_and_by_no_other() -> None:
    suspect = msgspec.structs.replace(claim(), suspect=True, crashes=1)
    cleared = {
        outcome.kind: not outcome.suspect
        for outcome in (
            policy.failed(suspect, OutcomeKind.ERROR, OOPS, 0.5),
            policy.failed(suspect, OutcomeKind.TIMEOUT, OOPS, 0.5),
            policy.snoozed(suspect, 1.0, 0.5),
            policy.handed_back(suspect),
            policy.crashed(suspect, OOPS, 0.5),
        )
    }
    assert cleared == {
        OutcomeKind.ERROR: True,
        OutcomeKind.TIMEOUT: False,
        OutcomeKind.SNOOZED: True,
        OutcomeKind.HANDED_BACK: False,
        OutcomeKind.CRASHED: False,
    }
    assert policy.failed(suspect, OutcomeKind.ERROR, OOPS, 0.5).crashes == 1


@given(asked_s=st.floats(allow_nan=True, allow_infinity=True))
def test_a_wait_that_was_asked_for_replaces_the_backoff_within_bounds(asked_s: float) -> None:
    retry = policy.failed(claim(), OutcomeKind.ERROR, OOPS, 0.1, retry_after_s=asked_s)
    snooze = policy.snoozed(claim(), asked_s, 0.1)
    for outcome in (retry, snooze):
        assert 0 <= outcome.wait_s <= MAX_DELAY_S
        if 0 <= asked_s <= MAX_DELAY_S:
            assert outcome.wait_s == asked_s


def test_a_policy_of_ones_own_gets_the_failures_so_far() -> None:
    outcome = policy.failed(claim(failures=1), OutcomeKind.ERROR, OOPS, 0.1, backoff=lambda failures: failures * 100.0)
    assert outcome.wait_s == 200.0


def test_a_verdict_is_charged_and_final_whatever_retries_are_left() -> None:
    outcome = policy.failed_for_good(claim(failures=1, retries=10), OOPS, 0.1)
    assert (outcome.state, outcome.failures, outcome.failure_reason) == (State.FAILED, 2, FailureReason.PERMANENT)


@pytest.mark.parametrize(
    ("outcome", "kind", "state"),
    [
        (policy.snoozed(claim(failures=2), 9.0, 0.1), OutcomeKind.SNOOZED, State.SCHEDULED),
        (policy.cancelled(claim(failures=2), 0.1), OutcomeKind.CANCELLED, State.CANCELLED),
        (policy.handed_back(claim(failures=2)), OutcomeKind.HANDED_BACK, State.PENDING),
        (policy.succeeded(claim(failures=2), None, 0.1), OutcomeKind.COMPLETED, State.COMPLETED),
    ],
)
def test_what_is_no_failure_charges_nothing(outcome: Any, kind: OutcomeKind, state: State) -> None:
    assert (outcome.kind, outcome.state, outcome.failures, outcome.error) == (kind, state, 2, None)


def test_an_attempt_that_never_started_ran_for_no_time() -> None:
    assert policy.handed_back(claim()).duration_s is None


# Results -------------------------------------------------------------------------------------------------------------


class Sent(msgspec.Struct, rename="camel"):
    email_id: str


@pytest.mark.parametrize(
    ("result", "text"),
    [(None, "null"), ({"a": [1, "ü"]}, '{"a":[1,"ü"]}'), (Sent("email_1"), '{"emailId":"email_1"}'), (0, "0")],
)
def test_a_result_is_kept_as_json(result: Any, text: str) -> None:
    assert policy.succeeded(claim(), result, 0.1).result == text


class NotJSON:
    pass


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (NotJSON(), "is not JSON"),
        ({(1, 2): 3}, "is not JSON"),
        ("\ud800", "is not JSON"),
        ({"a": ["\x00"]}, "U+0000"),
        ({"\x00": 1}, "U+0000"),
        ("x" * MAX_RESULT_BYTES, f"{MAX_RESULT_BYTES + 2} bytes of JSON, the limit is {MAX_RESULT_BYTES}"),
    ],
)
def test_a_result_that_cannot_be_kept_fails_the_job_for_good_and_says_why(result: Any, message: str) -> None:
    outcome = policy.succeeded(claim(retries=10), result, 0.1)
    assert (outcome.state, outcome.failure_reason) == (State.FAILED, FailureReason.PERMANENT)
    assert outcome.error is not None
    assert outcome.error.type == "InvalidResult"
    assert message in outcome.error.message


def test_a_result_that_contains_itself_fails_the_job_and_not_the_worker() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert policy.succeeded(claim(), endless, 0.1).state is State.FAILED


def test_a_result_at_the_limit_is_kept() -> None:
    assert policy.succeeded(claim(), "x" * (MAX_RESULT_BYTES - 2), 0.1).state is State.COMPLETED


def test_a_backslash_before_u0000_is_no_nul() -> None:
    assert policy.succeeded(claim(), "\\u0000", 0.1).state is State.COMPLETED


# Errors --------------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(codec=None), max_size=50))
def test_whatever_an_error_says_can_be_stored(text: str) -> None:
    outcome = policy.failed_for_good(claim(), JobError(text, text, text or None), 0.1)
    assert outcome.error is not None
    for kept in (outcome.error.type, outcome.error.message, outcome.error.traceback or ""):
        assert "\x00" not in kept
        kept.encode()


def test_long_errors_are_cut_and_of_a_traceback_the_end_is_kept() -> None:
    error = JobError("T" * 1000, "m" * 100_000, "x" * 100_000 + "the last line")
    kept = policy.failed_for_good(claim(), error, 0.1).error
    assert kept is not None
    assert kept.traceback is not None
    assert (len(kept.type), len(kept.message)) == (MAX_NAME_LENGTH, policy.MAX_ERROR_CHARS)
    assert len(kept.traceback) == policy.MAX_TRACEBACK_CHARS
    assert kept.traceback.endswith("the last line")


@pytest.mark.parametrize(
    ("job", "pointer"),
    [
        (NewJob("k", {}, run_at=datetime.max.replace(tzinfo=UTC)), "/runAt"),
        (NewJob("k", {}, headers={"a": "\x00"}), "/headers/a"),
        (NewJob("k", {"n": 10**5000}), "/payload/n"),
        (NewJob("k", {1: "x"}), "/payload"),  # type: ignore[dict-item]
    ],
)
def test_what_the_database_would_choke_on_is_refused_by_name(job: NewJob, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        policy.check_new_job(job)
    assert [error.pointer for error in refused.value.errors] == [pointer]
