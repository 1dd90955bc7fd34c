"""The handler of `send_email`."""

from datetime import UTC, datetime

from taskflow import kinds
from taskflow.adapters.mail import Mail, MailSender
from taskflow.engine.registry import JobContext, Registry
from taskflow.handlers.forced import ForcedFailure
from taskflow.kinds.email import NAME, EmailSent, SendEmail


def register(registry: Registry, sender: MailSender, *, retries: int, timeout_s: float) -> None:
    """Offer `send_email`, handing mail to *sender*."""

    async def send_email(ctx: JobContext, payload: SendEmail) -> EmailSent:
        if payload.force_fail:
            raise ForcedFailure
        mail = Mail(
            id=f"email_{ctx.job_id}",
            recipients=payload.recipients,
            subject=payload.subject,
            text=payload.body,
            html=payload.html,
            at=datetime.now(UTC),
        )
        delivered = await sender.send(mail)
        sent_at = datetime.now(UTC)
        if delivered.refused:
            ctx.log(f"{len(delivered.refused)} of {len(mail.recipients)} recipients were refused", level="warning")
        ctx.log(f"handed over by {delivered.delivery} as {delivered.message_id}")
        return EmailSent(
            email_id=mail.id,
            sent_at=sent_at,
            delivery=delivered.delivery,
            message_id=delivered.message_id,
            path=delivered.path,
            refused=delivered.refused,
        )

    registry.job(
        NAME,
        queue=kinds.QUEUE,
        retries=retries,
        timeout_s=timeout_s,
        payload=SendEmail,
        trusted=True,  # it knows the mail server's password, and child processes do not
    )(send_email)
