"""`send_email`: a mail to one or a few addresses."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

NAME = "send_email"
ALIASES = ("EMAIL",)

MAX_RECIPIENTS = 50
MAX_ADDRESS_LENGTH = 254  # RFC 5321, with the angle brackets of a path taken off
MAX_SUBJECT_LENGTH = 998
MAX_BODY_LENGTH = 200_000

# The patterns are read by Python here and by a JSON Schema validator at submit; `$` means two things there, this one.
_END = r"(?![\s\S])"
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]"
ADDRESS_PATTERN = rf"^{_ATOM}{{1,64}}@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?{_END}"
# No control characters and no line separators: what follows one could pass for another header.
SUBJECT_PATTERN = rf"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*{_END}"

Address = Annotated[
    str,
    Meta(
        pattern=ADDRESS_PATTERN,
        max_length=MAX_ADDRESS_LENGTH,
        description="A mail address such as ada@example.com.",
        examples=["ada@example.com"],
    ),
]


class SendEmail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """What to send, and to whom."""

    to: Annotated[
        Address | Annotated[list[Address], Meta(min_length=1, max_length=MAX_RECIPIENTS)],
        Meta(
            description=f"One bare address, or 1 to {MAX_RECIPIENTS} of them; everyone sees all of them. "
            "Internationalised domains in punycode."
        ),
    ]
    subject: Annotated[
        str, Meta(max_length=MAX_SUBJECT_LENGTH, pattern=SUBJECT_PATTERN, description="A single line of text.")
    ]
    body: Annotated[str, Meta(max_length=MAX_BODY_LENGTH, description="Plain text.")]
    html: Annotated[
        Annotated[str, Meta(max_length=MAX_BODY_LENGTH)] | None, Meta(description="The same as HTML, beside the text.")
    ] = None
    force_fail: Annotated[bool, Meta(description="Fail on purpose, to see retries at work. Refused in production.")] = (
        False
    )

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses, each once, in their order."""
        return tuple(dict.fromkeys([self.to] if isinstance(self.to, str) else self.to))


class EmailSent(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """
    What came of it.

    Args:
        email_id: the same for every attempt of a job, so that a mail that was sent twice can be recognised.
        sent_at: when it had been taken over.
        delivery: `smtp` if a server took it, `file` if it was written down because no server is configured.
        path: of the file.
        refused: addresses that the server did not take, while it took others.
    """

    email_id: str
    sent_at: datetime
    delivery: Literal["smtp", "file"]
    message_id: str
    path: str | None = None
    refused: tuple[str, ...] = ()
