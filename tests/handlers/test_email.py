"""The handler of `send_email`, and what its payload may be."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.sink import Notes

from taskflow import kinds
from taskflow.adapters.mail import Delivered, FileSender, Mail
from taskflow.engine.job import DEFAULT_NAMESPACE, Claim, JobId, LeaseId, NewLogLine
from taskflow.engine.registry import JobContext, Registry
from taskflow.handlers import email
from taskflow.handlers.forced import ForcedFailure
from taskflow.kinds.email import EmailSent, SendEmail

PAYLOAD = {"to": "ada@example.com", "subject": "Hello", "body": "It works."}
JOB_ID = JobId(UUID("019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11"))


class Partial:
    """A server that takes a mail for the first recipient only."""

    async def send(self, mail: Mail) -> Delivered:
        return Delivered("smtp", f"<{mail.id}@example.com>", refused=mail.recipients[1:])


async def run(registry: Registry, payload: dict[str, Any], *, attempt: int = 1) -> tuple[EmailSent, list[NewLogLine]]:
    """Run the handler as a worker does; return its result and its log lines."""
    kind = registry["send_email"]
    text = msgspec.json.encode(payload).decode()
    claim = Claim(
        lease_id=LeaseId(uuid4()),
        lease_size=1,
        position=0,
        job_id=JOB_ID,
        attempt=attempt,
        failures=0,
        namespace=DEFAULT_NAMESPACE,
        kind="send_email",
        queue=kinds.QUEUE,
        priority=5,
        payload=text,
        retries=3,
        timeout_s=30.0,
        headers={},
        queue_wait_s=0.0,
    )
    notes = Notes()
    result = await kind.handler(JobContext(claim, MappingProxyType({}), notes), kind.decode(text))
    assert isinstance(result, EmailSent)
    return result, notes.lines


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry()
    email.register(registry, FileSender(tmp_path, sender="shop@example.com"), retries=3, timeout_s=30.0)
    return registry


@pytest.mark.covers("S2-13")
async def test_the_result_names_the_mail_and_how_it_went(registry: Registry) -> None:
    result, lines = await run(registry, PAYLOAD)
    shown = msgspec.json.decode(msgspec.json.encode(result))
    assert shown["emailId"] == f"email_{JOB_ID}"
    assert shown["sentAt"].endswith("Z")
    assert shown["delivery"] == "file"
    assert b"Subject: Hello" in Path(shown["path"]).read_bytes()
    assert any("handed over" in line.message for line in lines)
    assert not any("ada@" in line.message for line in lines)


@pytest.mark.covers("S2-2", "S2-13")
async def test_a_second_run_of_the_job_is_the_same_mail(registry: Registry) -> None:
    first, _ = await run(registry, PAYLOAD)
    second, _ = await run(registry, PAYLOAD, attempt=2)
    assert (first.email_id, first.message_id, first.path) == (second.email_id, second.message_id, second.path)


@pytest.mark.covers("S2-14", "S2-42")
async def test_a_forced_failure_fails(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ForcedFailure, match="forceFail"):
        await run(registry, {**PAYLOAD, "forceFail": True})
    assert list(tmp_path.iterdir()) == []


async def test_recipients_who_were_refused_are_in_the_result() -> None:
    registry = Registry()
    email.register(registry, Partial(), retries=3, timeout_s=30.0)
    result, lines = await run(registry, {**PAYLOAD, "to": ["a@b.c", "d@e.f", "a@b.c"]})
    assert result.refused == ("d@e.f",)
    assert [line.level for line in lines] == ["warning", "info"]


async def test_a_mail_counts_as_sent_once_it_was_taken() -> None:
    taken_at = []

    class Slow(Partial):
        async def send(self, mail: Mail) -> Delivered:
            await asyncio.sleep(0.01)
            taken_at.append(datetime.now(UTC))
            return await super().send(mail)

    registry = Registry()
    email.register(registry, Slow(), retries=3, timeout_s=30.0)
    result, _ = await run(registry, PAYLOAD)
    assert result.sent_at >= taken_at[0]


def test_retries_and_timeout_come_from_the_settings() -> None:
    registry = Registry()
    email.register(registry, Partial(), retries=7, timeout_s=12.0)
    info = registry["send_email"].info
    assert (info.queue, info.retries, info.timeout_s) == ("builtin", 7, 12.0)


def test_aliases_lead_to_kinds_there_are() -> None:
    assert kinds.canonical("EMAIL") == "send_email"
    assert kinds.canonical("order") == "order"
    assert set(kinds.ALIASES.values()) <= kinds.BUILTIN
    assert not kinds.BUILTIN & kinds.ALIASES.keys()


_VALIDATOR = jsonschema_rs.validator_for(msgspec.json.schema(SendEmail))
_TEXT = st.text(max_size=20) | st.from_regex(r"[a-z.]{1,5}@[a-z.-]{1,6}[\n\r ]?", fullmatch=True)


@given(
    st.fixed_dictionaries(
        {"to": _TEXT | st.lists(_TEXT, max_size=3), "subject": _TEXT, "body": st.text(max_size=5)},
        optional={"html": st.none() | st.text(max_size=5), "forceFail": st.booleans(), "more": st.none()},
    )
)
def test_the_api_and_the_worker_agree_on_what_a_payload_is(payload: dict[str, Any]) -> None:
    """The API checks by JSON Schema, the worker by the type: what one takes, the other must."""
    try:
        msgspec.json.decode(msgspec.json.encode(payload), type=SendEmail)
        taken = True
    except msgspec.ValidationError:
        taken = False
    assert _VALIDATOR.is_valid(payload) == taken


def test_time_is_not_spent_in_a_pattern() -> None:
    began = time.perf_counter()
    for text in ("a" * 250 + "@" + "." * 250, "a@" + "a." * 120 + "\n"):
        assert not _VALIDATOR.is_valid({**PAYLOAD, "to": text})
    assert time.perf_counter() - began < 0.2
