"""The tree of errors: what a caller may rely on of each."""

import pytest

from taskflow.kernel import errors
from taskflow.kernel.errors import (
    AlreadyFinal,
    DomainError,
    EngineError,
    ExternalError,
    FieldError,
    Invalid,
    LeaseLost,
    PayloadTooLarge,
    Permanent,
    TaskFlowError,
)

TREE = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, TaskFlowError)]
DOMAIN = [error for error in TREE if issubclass(error, DomainError) and error is not DomainError]


def test_every_error_of_ours_is_a_taskflow_error_and_says_what_it_means() -> None:
    exceptions = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert set(exceptions) == set(TREE)
    assert all(error.__doc__ for error in TREE)


@pytest.mark.parametrize("error", DOMAIN)
def test_a_domain_error_has_a_status_a_code_and_a_detail_that_can_be_shown(error: type[DomainError]) -> None:
    raised = error()
    assert 400 <= raised.status < 600
    assert raised.code.isidentifier()
    assert raised.detail == str(raised) != ""
    assert "\n" not in raised.detail
    assert (raised.errors, raised.retry_after_s, raised.facts) == ((), None, {})


def test_statuses_and_codes_name_one_error_each() -> None:
    assert len({error.status for error in DOMAIN}) == len({error.code for error in DOMAIN}) == len(DOMAIN)


def test_a_domain_error_carries_what_it_was_given() -> None:
    wrong = FieldError("/a", "bad", "is bad")
    raised = Invalid("no", code="unknown_kind", errors=[wrong], retry_after_s=2.0, facts={"state": "failed"})
    assert (raised.detail, raised.code, raised.status) == ("no", "unknown_kind", 422)
    assert (raised.errors, raised.retry_after_s, raised.facts) == ((wrong,), 2.0, {"state": "failed"})
    assert Invalid.code == "invalid"  # the class's own is left alone


@pytest.mark.parametrize("error", [LeaseLost, PayloadTooLarge, Permanent])
def test_an_engine_error_needs_no_words(error: type[EngineError]) -> None:
    assert str(error()) != ""
    assert str(error("in detail")) == "in detail"


def test_a_job_that_has_ended_says_how() -> None:
    assert AlreadyFinal(state="failed").state == "failed"
    assert isinstance(AlreadyFinal(state="failed"), EngineError)


def test_an_external_error_says_whether_trying_again_may_help() -> None:
    raised = ExternalError("the mail server is away", transient=True, retry_after_s=30.0)
    assert (str(raised), raised.transient, raised.retry_after_s) == ("the mail server is away", True, 30.0)
    assert ExternalError("no such address", transient=False).retry_after_s is None
