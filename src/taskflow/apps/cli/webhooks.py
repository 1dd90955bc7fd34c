"""`taskflow webhooks`: list, show, replay, secret."""

from typing import Annotated

import typer

from taskflow.apps.cli.arguments import given
from taskflow.apps.cli.grammar import Commands
from taskflow.apps.cli.session import (
    EXITS,
    WHERE,
    AsJson,
    DatabaseUrl,
    DataDir,
    Failure,
    Session,
    run,
)

LIST_NAMES = {"jobId": "--job", "status": "--status", "limit": "--limit", "cursor": "--cursor"}

group = Commands(
    help=f"Look at callbacks and what became of them, and make them again.\n\n{WHERE}\n\n{EXITS}",
    short_help="Look at callbacks, make them again.",
)

DeliveryId = Annotated[str, typer.Argument(metavar="ID", help="The whole id of a delivery.", show_default=False)]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="webhooks")


@group.command("list")
def list_(
    job: Annotated[str | None, typer.Option(metavar="ID", help="Of this job only.")] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="pending, delivered, or failed: the dead letters.")
    ] = None,
    limit: Annotated[str | None, typer.Option(metavar="N", help="At most so many, 1 to 200. [default: 50]")] = None,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Where the page before ended; it says so itself.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    List deliveries, newest first: one for each time that a job with a callback URL ended.

    Examples:

        taskflow webhooks list --status failed
        taskflow webhooks list --job 019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11
    """
    asked = given({"jobId": job, "status": status, "limit": limit, "cursor": cursor})

    async def work(session: Session) -> None:
        from taskflow.apps.cli.deliveries import show_page

        await show_page(session, asked, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url, names=LIST_NAMES)


@group.command()
def show(
    delivery_id: DeliveryId, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """
    Show a delivery: where it goes, its attempts, and what the receiver said to each.

    Example:

        taskflow webhooks show 019ab0f2-7c11-7d02-8a44-52f0e8a9b310
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.deliveries import show_delivery

        await show_delivery(session, delivery_id, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url)


@group.command()
def replay(
    delivery_id: DeliveryId, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """
    Make a delivery again that has failed, or was delivered, with the same webhook-id; its attempts begin anew.

    One that is pending is still tried, and is refused. A receiver that remembers ids takes a delivered one for a
    repetition, and may do nothing with it.

    Example:

        taskflow webhooks replay 019ab0f2-7c11-7d02-8a44-52f0e8a9b310
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.deliveries import replay_delivery

        await replay_delivery(session, delivery_id, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url)


@group.command()
def secret(as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Print the secret that callbacks are signed with, for receivers that verify them.

    Derived from the root secret, so this command needs that: TASKFLOW_SECRET_KEY, or a data directory of `up`.

    Example:

        taskflow webhooks secret
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.output import Output
        from taskflow.apps.data_dir import find_secret
        from taskflow.apps.settings import Settings
        from taskflow.http.secret import RootSecret
        from taskflow.webhooks.schemas import SigningSecretView
        from taskflow.webhooks.signature import signing_secret

        root = find_secret(Settings.from_env(data_dir=data_dir, database_url=database_url))
        if root is None:
            raise Failure("no root secret: set TASKFLOW_SECRET_KEY as the API has it")
        value = signing_secret(RootSecret(root.encode()), session.principal.namespace)
        out = Output(session.now)
        if as_json:
            out.json(SigningSecretView(value))
        else:
            out.line(value)

    run(work, data_dir=data_dir, database_url=database_url)
