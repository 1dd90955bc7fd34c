"""Mail senders: one suite that both pass, on a real SMTP server and a real folder; then what is particular to each."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from tests.engine.test_executor import make_claim
from tests.support.sink import Notes

from taskflow.adapters.mail import FileSender, Mail, MailSender, SmtpSender
from taskflow.engine.executor import Executor
from taskflow.engine.job import Claim, Outcome, OutcomeKind
from taskflow.engine.registry import Registry
from taskflow.handlers import email
from taskflow.kernel.errors import ExternalError, SetupError

SENDER = "shop@example.com"
MAIL = Mail(
    id="email_1",
    recipients=("ada@example.com",),
    subject="Hello",
    text="It works.\n",
    at=datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
)


@dataclass
class Mailbox:
    """A real SMTP server's memory, and what it shall refuse."""

    mails: list[Envelope] = field(default_factory=list)
    refuse_rcpt: dict[str, str] = field(default_factory=dict)
    refuse_data: str | None = None
    port: int = 0

    async def handle_RCPT(  # noqa: N802 -- aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refuse_rcpt:
            return self.refuse_rcpt[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802
        if self.refuse_data:
            return self.refuse_data
        self.mails.append(envelope)
        return "250 OK"


def serve(mailbox: Mailbox, **options: Any) -> Controller:
    with socket.create_server(("127.0.0.1", 0)) as free:
        mailbox.port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port, **options)
    controller.start()
    return controller


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    controller = serve(mailbox)
    yield mailbox
    controller.stop()


@pytest.fixture(params=["smtp", "file"])
def sender(request: pytest.FixtureRequest, tmp_path: Path) -> MailSender:
    if request.param == "file":
        return FileSender(tmp_path / "mail", sender=SENDER)
    return SmtpSender(f"smtp://127.0.0.1:{request.getfixturevalue('mailbox').port}", sender=SENDER)


@pytest.fixture
def delivered(request: pytest.FixtureRequest, sender: MailSender, tmp_path: Path) -> Callable[[], list[EmailMessage]]:
    """Return what came out at the other end."""

    def read() -> list[EmailMessage]:
        if isinstance(sender, FileSender):
            contents = [path.read_bytes() for path in sorted((tmp_path / "mail").glob("*.eml"))]
        else:
            contents = [envelope.original_content or b"" for envelope in request.getfixturevalue("mailbox").mails]
        return [message_from_bytes(content, EmailMessage, policy=policy.default) for content in contents]

    return read


# Both ----------------------------------------------------------------------------------------------------------------


@pytest.mark.covers("S2-13")
async def test_a_mail_arrives_whole(sender: MailSender, delivered: Callable[[], list[EmailMessage]]) -> None:
    mail = replace(
        MAIL, recipients=("ada@example.com", "bob@example.com"), subject="Grüße 🎉", text="Zeile\n.\nEnde ü\n"
    )
    result = await sender.send(mail)
    [message] = delivered()
    assert message["From"] == SENDER
    assert message["To"] == "ada@example.com, bob@example.com"
    assert message["Subject"] == "Grüße 🎉"
    assert message["Message-ID"] == result.message_id == "<email_1@example.com>"
    assert message["Date"].datetime == MAIL.at
    assert message.get_content().replace("\r\n", "\n") == "Zeile\n.\nEnde ü\n"
    assert result.refused == ()


async def test_html_comes_beside_the_text(sender: MailSender, delivered: Callable[[], list[EmailMessage]]) -> None:
    await sender.send(replace(MAIL, html="<p>It <b>works</b>.</p>"))
    [message] = delivered()
    html, text = message.get_body(("html",)), message.get_body(("plain",))
    assert html is not None
    assert "<b>works</b>" in html.get_content()
    assert text is not None
    assert "It works." in text.get_content()


async def test_long_lines_and_large_texts_survive(
    sender: MailSender, delivered: Callable[[], list[EmailMessage]]
) -> None:
    text = "x" * 5000 + "\n" + "ä" * 3000 + "\n"
    await sender.send(replace(MAIL, text=text, subject="s" * 998))
    [message] = delivered()
    assert message.get_content().replace("\r\n", "\n") == text
    assert message["Subject"].replace(" ", "") == "s" * 998


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\u2028", "\x0b", "\x85"])
@pytest.mark.parametrize("place", ["subject", "recipients"])
async def test_no_text_breaks_out_of_its_header(
    sender: MailSender, delivered: Callable[[], list[EmailMessage]], place: str, end: str
) -> None:
    text = f"a@b.c{end}Bcc: thief@example.com"
    mail = replace(MAIL, subject=text) if place == "subject" else replace(MAIL, recipients=(text,))
    with pytest.raises(ValueError, match=r"header|Header|linefeed|character"):
        await sender.send(mail)
    assert delivered() == []


@pytest.mark.parametrize("mail_id", ["", "../../etc/passwd", "a b", "a\n", "x" * 101])
async def test_a_mails_id_is_plain(sender: MailSender, mail_id: str) -> None:
    with pytest.raises(ValueError, match="mail's id"):
        await sender.send(replace(MAIL, id=mail_id))


# Files ---------------------------------------------------------------------------------------------------------------


async def test_the_same_mail_again_replaces_its_file(tmp_path: Path) -> None:
    sender = FileSender(tmp_path / "mail", sender=SENDER)
    first = await sender.send(MAIL)
    second = await sender.send(replace(MAIL, text="Again.\n"))
    assert first.path == second.path == str(tmp_path / "mail" / "email_1.eml")
    assert b"Again." in Path(str(second.path)).read_bytes()
    assert [path.name for path in (tmp_path / "mail").iterdir()] == ["email_1.eml"]


async def test_mail_files_are_their_owners_alone(tmp_path: Path) -> None:
    result = await FileSender(tmp_path / "mail", sender=SENDER).send(MAIL)
    assert Path(str(result.path)).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "mail").stat().st_mode & 0o777 == 0o700


async def test_a_folder_that_cannot_be_written_is_tried_again_later(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("a file is in the way")
    with pytest.raises(ExternalError, match="could not be written") as failed:
        await FileSender(tmp_path / "mail", sender=SENDER).send(MAIL)
    assert failed.value.transient


# SMTP ----------------------------------------------------------------------------------------------------------------


def smtp(mailbox: Mailbox, query: str = "", user: str = "") -> SmtpSender:
    return SmtpSender(f"smtp://{user}127.0.0.1:{mailbox.port}{query}", sender=SENDER, timeout_s=5)


async def test_the_envelope_has_the_sender_and_every_recipient(mailbox: Mailbox) -> None:
    await smtp(mailbox).send(replace(MAIL, recipients=("a@example.com", "b@example.com")))
    [envelope] = mailbox.mails
    assert (envelope.mail_from, envelope.rcpt_tos) == (SENDER, ["a@example.com", "b@example.com"])


@pytest.mark.parametrize(("reply", "transient"), [("451 try later", True), ("554 spam", False)])
async def test_a_refusal_is_transient_as_its_code_says(mailbox: Mailbox, reply: str, transient: bool) -> None:
    mailbox.refuse_data = reply
    with pytest.raises(ExternalError, match=reply[:3]) as failed:
        await smtp(mailbox).send(MAIL)
    assert failed.value.transient is transient


@pytest.mark.parametrize(("reply", "transient"), [("450 greylisted", True), ("550 no such user", False)])
async def test_refused_recipients_are_transient_as_their_codes_say(
    mailbox: Mailbox, reply: str, transient: bool
) -> None:
    mailbox.refuse_rcpt = {"ada@example.com": reply}
    with pytest.raises(ExternalError, match=reply[:3]) as failed:
        await smtp(mailbox).send(MAIL)
    assert failed.value.transient is transient
    assert mailbox.mails == []


async def test_some_refused_recipients_are_named_and_the_others_get_it(mailbox: Mailbox) -> None:
    mailbox.refuse_rcpt = {"bob@example.com": "550 no such user"}
    result = await smtp(mailbox).send(replace(MAIL, recipients=("ada@example.com", "bob@example.com")))
    assert result.refused == ("bob@example.com",)
    assert mailbox.mails[0].rcpt_tos == ["ada@example.com"]


async def test_a_server_that_is_away_is_tried_again_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ExternalError, match="did not answer") as failed:
        await SmtpSender(f"smtp://127.0.0.1:{port}", sender=SENDER).send(MAIL)
    assert failed.value.transient


async def test_a_server_that_says_nothing_is_given_up_after_the_timeout() -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    gone = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(ExternalError, match="did not answer") as failed:
            await SmtpSender(f"smtp://127.0.0.1:{port}", sender=SENDER, timeout_s=0.1).send(MAIL)
        assert failed.value.transient
    finally:
        gone.set()
        server.close()
        await server.wait_closed()


class SilentAfterData:
    """A server that takes the text of a mail and then says nothing, nor to a QUIT; `hung_up` once the client left."""

    def __init__(self, *, accepts: bool = False) -> None:
        self.accepts = accepts
        self.has_text = asyncio.Event()
        self.hung_up = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while (line := await reader.readline()) and line != b"DATA\r\n":
            writer.write(b"250 OK\r\n")
        writer.write(b"354 go on\r\n")
        while (line := await reader.readline()) and line != b".\r\n":
            pass
        if self.accepts:
            writer.write(b"250 taken\r\n")
        self.has_text.set()
        while await reader.readline():
            pass
        self.hung_up.set()
        writer.close()


@contextlib.asynccontextmanager
async def running(server: SilentAfterData) -> AsyncIterator[str]:
    """Serve; the value is the URL."""
    listener = await asyncio.start_server(server.talk, "127.0.0.1", 0)
    try:
        yield f"smtp://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await listener.wait_closed()


@pytest.mark.covers("S2-13")
async def test_a_cancelled_mail_leaves_a_silent_server_at_once() -> None:
    server = SilentAfterData()
    async with running(server) as url:
        sending = asyncio.create_task(SmtpSender(url, sender=SENDER).send(MAIL))
        await asyncio.wait_for(server.has_text.wait(), 8)
        sending.cancel()
        began = time.perf_counter()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert time.perf_counter() - began < 0.5
        await asyncio.wait_for(server.hung_up.wait(), 8)


async def test_an_attempt_that_timed_out_at_a_silent_server_is_not_stuck() -> None:
    server = SilentAfterData()
    registry = Registry()
    outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
    stuck: list[Claim] = []
    async with running(server) as url:
        email.register(registry, SmtpSender(url, sender=SENDER), retries=3, timeout_s=30.0)
        executor = Executor(
            registry,
            on_outcome=outcomes.put_nowait,
            on_end=lambda: None,
            on_stuck=stuck.append,
            sink=Notes(),
            state={},
            cancel_grace_s=5.0,
        )
        payload = '{"to": "ada@example.com", "subject": "Hello", "body": "It works."}'
        executor.start(make_claim("send_email", payload, timeout_s=0.1))
        outcome = await asyncio.wait_for(outcomes.get(), 1)
        await asyncio.wait_for(server.hung_up.wait(), 1)
    assert outcome.kind is OutcomeKind.TIMEOUT
    assert stuck == []


@pytest.mark.slow
async def test_a_mail_that_was_taken_is_sent_though_nobody_answers_the_goodbye() -> None:
    server = SilentAfterData(accepts=True)
    async with running(server) as url:
        result = await asyncio.wait_for(SmtpSender(url, sender=SENDER).send(MAIL), 5)
    assert result.delivery == "smtp"


async def test_a_password_does_not_travel_in_the_clear(mailbox: Mailbox) -> None:
    with pytest.raises(ExternalError) as failed:
        await smtp(mailbox, user="me:hunter2@").send(MAIL)
    assert "hunter2" not in str(failed.value)
    assert mailbox.mails == []


@pytest.mark.parametrize(("password", "accepted"), [("p%40ss", True), ("wrong", False)])
async def test_credentials_of_the_url_are_used(password: str, accepted: bool) -> None:
    def authenticate(*arguments: Any) -> AuthResult:
        data = arguments[4]
        assert isinstance(data, LoginPassword)
        return AuthResult(success=data.login == b"me" and data.password == b"p@ss", handled=False)

    mailbox = Mailbox()
    controller = serve(mailbox, authenticator=authenticate, auth_require_tls=False)
    try:
        sender = smtp(mailbox, "?starttls=never", f"me:{password}@")
        if accepted:
            await sender.send(MAIL)
            assert len(mailbox.mails) == 1
        else:
            with pytest.raises(ExternalError, match="credentials") as failed:
                await sender.send(MAIL)
            assert failed.value.transient
            assert "wrong" not in str(failed.value)
    finally:
        controller.stop()


@pytest.mark.parametrize(
    "url",
    ["http://me:hunter2@host", "smtp://", "smtp://me:hunter2@host:port", "smtp://me:hunter2@host?starttls=maybe", ""],
)
def test_a_wrong_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SetupError, match="SMTP_URL") as refused:
        SmtpSender(url, sender=SENDER)
    assert "hunter2" not in str(refused.value)


def test_a_sender_shows_no_password() -> None:
    assert repr(SmtpSender("smtps://me:hunter2@mail.example.com", sender=SENDER)) == "SmtpSender(mail.example.com:465)"
