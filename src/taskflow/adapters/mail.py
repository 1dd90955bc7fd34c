"""
Sending mail: by SMTP, or into files where no server is configured. Both pass one conformance suite.

A mail's id decides its Message-ID (and its file's name), so a mail sent again after a crash can be recognised by
servers and people: mail is at least once, like everything that leaves the database.
"""

import asyncio
import contextlib
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import datetime
from email import policy, utils
from email.message import EmailMessage
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib

from taskflow.kernel.errors import ExternalError, SetupError

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 20.0
QUIT_TIMEOUT_S = 1.0  # a courtesy: the mail is taken by then
MAX_REPLY_CHARS = 300  # of a server's words, in errors

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_POLICY = policy.SMTP.clone(cte_type="7bit")  # no server has to understand 8BITMIME
_PORTS = {"smtp": 25, "smtps": 465}
_STARTTLS = {"auto": None, "require": True, "never": False}


@dataclass(frozen=True, slots=True)
class Mail:
    """
    One mail.

    Args:
        id: stable for the same mail; letters, digits, `_` and `-`.
        recipients: bare addresses.
        at: for the Date header; aware.
    """

    id: str
    recipients: tuple[str, ...]
    subject: str
    text: str
    at: datetime
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a mail. *refused* are recipients whom the server did not take, while it took others."""

    delivery: Literal["smtp", "file"]
    message_id: str
    path: str | None = None
    refused: tuple[str, ...] = ()


class MailSender(Protocol):
    """Whoever takes mail off our hands."""

    async def send(self, mail: Mail) -> Delivered:
        """Hand *mail* over. Raises ExternalError, transient if another try may help; nobody got the mail then."""
        ...


def compose(mail: Mail, sender: str) -> EmailMessage:
    """
    Return *mail* as a message.

    Raises:
        ValueError: a field would break out of its header. The email package refuses line breaks in headers itself.
    """
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = ", ".join(mail.recipients)
    message["Subject"] = mail.subject
    message["Date"] = utils.format_datetime(mail.at)
    message["Message-ID"] = message_id(mail, sender)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office replies to a machine
    message.set_content(mail.text)
    if mail.html is not None:
        message.add_alternative(mail.html, subtype="html")
    return message


def message_id(mail: Mail, sender: str) -> str:
    """Return the Message-ID, the same for the same mail. Raises ValueError for an id that does not fit in one."""
    if not _ID.fullmatch(mail.id):
        raise ValueError(f"a mail's id is 1 to 100 of A-Z a-z 0-9 _ -, got {mail.id!r}")
    return f"<{mail.id}@{sender.rpartition('@')[2]}>"


class SmtpSender:
    """
    Sends by SMTP, on a connection per mail.

    Args:
        url: `smtp://[user:password@]host[:25]` or `smtps://…[:465]`. Plain SMTP turns to TLS where the server offers
            it, and must where there is a password; `?starttls=require|never` says otherwise.
        sender: the address in From and in the envelope.
    """

    def __init__(self, url: str, *, sender: str, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        try:
            parts = urlsplit(url)
            self._port = parts.port or _PORTS[parts.scheme]
            starttls = _STARTTLS[parse_qs(parts.query).get("starttls", ["auto"])[0]]
        except (ValueError, KeyError):
            # The URL is not shown: it may hold a password.
            raise SetupError(
                "SMTP_URL must be smtp://[user:password@]host[:port] or smtps://…, perhaps with ?starttls=require|never"
            ) from None
        if not parts.hostname:
            raise SetupError("SMTP_URL names no host")
        self._host = parts.hostname
        self._implicit_tls = parts.scheme == "smtps"
        self._username = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        if starttls is None and self._password is not None:
            starttls = True  # a password does not travel in the clear unless somebody asks for it
        self._starttls = False if self._implicit_tls else starttls
        self._sender = sender
        self._timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"SmtpSender({self._host}:{self._port})"

    async def send(self, mail: Mail) -> Delivered:
        message = compose(mail, self._sender)
        client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            username=self._username,
            password=self._password,
            use_tls=self._implicit_tls,
            start_tls=self._starttls,
            timeout=self._timeout_s,
        )
        # Not `async with client`: its exit waits for the answer to QUIT, after a cancellation too, and a silent server
        # would hold on to a worker that has to go.
        try:
            await client.connect()  # TLS and login included
            refused, _reply = await client.sendmail(self._sender, list(mail.recipients), message.as_bytes())
        except (aiosmtplib.SMTPException, OSError) as error:
            raise self._external(error) from None
        else:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=QUIT_TIMEOUT_S)
        finally:
            client.close()
        return Delivered("smtp", message_id(mail, self._sender), refused=tuple(refused))

    def _external(self, error: Exception) -> ExternalError:
        where = f"the mail server {self._host}:{self._port}"
        match error:
            case aiosmtplib.SMTPRecipientsRefused():
                # One that may be taken later makes the whole mail worth another try: nobody has got it yet.
                first = error.recipients[0]
                transient = any(_is_transient(refusal.code) for refusal in error.recipients)
                return ExternalError(
                    f"{where} takes none of the recipients: {first.code} {_cut(first.message)}", transient=transient
                )
            case aiosmtplib.SMTPAuthenticationError():
                # Our password is wrong, not the mail: it can be sent once somebody has mended that.
                return ExternalError(f"{where} refused our credentials: {error.code}", transient=True)
            case aiosmtplib.SMTPResponseException():
                return ExternalError(
                    f"{where} refused: {error.code} {_cut(error.message)}", transient=_is_transient(error.code)
                )
            case aiosmtplib.SMTPNotSupported():
                return ExternalError(f"{where} cannot do what the mail needs: {_cut(str(error))}", transient=False)
            case _:
                return ExternalError(f"{where} did not answer: {type(error).__name__}", transient=True)


class FileSender:
    """
    Writes each mail as `<id>.eml` into a folder, whole or not at all; the same mail again replaces its file.

    Args:
        folder: made when the first mail comes; readable by its owner alone.
    """

    def __init__(self, folder: Path, *, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, mail: Mail) -> Delivered:
        message = compose(mail, self._sender)
        path = self._folder / f"{mail.id}.eml"
        try:
            await asyncio.to_thread(_write_whole, path, message.as_bytes())
        except OSError as error:
            raise ExternalError(f"the mail could not be written to {path}: {error.strerror}", transient=True) from error
        return Delivered("file", message_id(mail, self._sender), path=str(path))


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _is_transient(code: int) -> bool:
    """4yz: try again later. Anything else that is not success will be the same next time (RFC 5321 §4.2.1)."""
    return 400 <= code < 500


def _cut(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ")[:MAX_REPLY_CHARS]
