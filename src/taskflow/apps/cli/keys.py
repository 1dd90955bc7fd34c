"""`taskflow keys`: create, list and revoke API keys."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from taskflow.apps.cli.grammar import Commands
from taskflow.apps.cli.session import EXITS, WHERE, AsJson, DatabaseUrl, DataDir, Session, run

if TYPE_CHECKING:
    from taskflow.identity.apikeys.repository import ApiKey

MAX_DAYS = 3660
NAMES = {"name": "NAME", "scopes": "--scope", "lifetime": "--days"}

group = Commands(
    help=f"Create, list and revoke API keys.\n\n{WHERE}\n\n{EXITS}",
    short_help="Create, list and revoke API keys.",
)


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="keys")


@group.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for, to know it again.")],
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            metavar="SCOPE",
            help="jobs:read, jobs:write, files:read, files:write, worker, owner (all of a namespace), operator. "
            "Repeatable.",
        ),
    ],
    days: Annotated[
        int | None, typer.Option(min=1, max=MAX_DAYS, help="Days until it expires. [default: it does not]")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Make a key and print it. It is shown this once: only its hash is stored.

    Examples:

        taskflow keys create "billing service" --scope jobs:write --scope jobs:read
        taskflow keys create "on-call laptop" --scope operator --scope owner --days 30
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.output import Output
        from taskflow.identity.apikeys.service import ApiKeys

        async with session.database.transaction() as connection:
            key, plain = await ApiKeys(session.database).create(
                namespace=session.principal.namespace,
                name=name,
                scopes=scope,
                lifetime=None if days is None else timedelta(days=days),
                connection=connection,
            )
        out = Output(session.now)
        if as_json:
            out.json({**_document(key), "apiKey": plain})
            return
        typer.echo(f"key {key.id}, shown this once:", err=True)
        out.line(plain)

    run(work, data_dir=data_dir, database_url=database_url, names=NAMES)


@group.command("list")
def list_(as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    List keys, newest first, those that ended too. A key itself cannot be shown again; HINT is how it ends.

    Example:

        taskflow keys list
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.output import Column, Output, clean
        from taskflow.identity.apikeys.service import ApiKeys

        async with session.database.acquire() as connection:
            keys = await ApiKeys(session.database).list_keys(session.principal.namespace, connection=connection)
        out = Output(session.now)
        if as_json:
            out.json({"items": [_document(key) for key in keys]})
            return
        if not keys:
            typer.echo("no keys", err=True)
            return
        columns = (
            Column("ID"),
            Column("NAME", least=10),
            Column("SCOPES", least=10),
            Column("HINT", rank=3),
            Column("CREATED", rank=4),
            Column("EXPIRES", rank=2),
            Column("REVOKED", rank=1),
        )
        rows = [
            (
                str(key.id),
                clean(key.name),
                ",".join(key.scopes),
                f"…{key.hint}",
                out.time(key.created_at),
                out.time(key.expires_at),
                out.time(key.revoked_at),
            )
            for key in keys
        ]
        out.table(columns, rows)

    run(work, data_dir=data_dir, database_url=database_url)


@group.command()
def revoke(
    key_id: Annotated[UUID, typer.Argument(metavar="ID", help="Of the key, as `taskflow keys list` shows it.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    End a key. API processes refuse it within two seconds.

    Example:

        taskflow keys revoke 019ab123-4567-7abc-8def-0123456789ab
    """

    async def work(session: Session) -> None:
        from taskflow.identity.apikeys.service import ApiKeys

        async with session.database.transaction() as connection:
            key = await ApiKeys(session.database).revoke(
                key_id, namespace=session.principal.namespace, connection=connection
            )
        typer.echo(f"{key.id}  revoked")

    run(work, data_dir=data_dir, database_url=database_url)


def _document(key: "ApiKey") -> dict[str, object]:
    return {
        "keyId": str(key.id),
        "name": key.name,
        "scopes": list(key.scopes),
        "hint": key.hint,
        "createdAt": key.created_at,
        "expiresAt": key.expires_at,
        "revokedAt": key.revoked_at,
    }
