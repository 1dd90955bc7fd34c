"""`taskflow files`: upload, list, show, download, delete, link."""

from pathlib import Path
from typing import Annotated

import typer

from taskflow.apps.cli.arguments import given
from taskflow.apps.cli.grammar import Commands
from taskflow.apps.cli.session import EXITS, WHERE, AsJson, DatabaseUrl, DataDir, Session, run

UPLOAD_NAMES = {"expiresAt": "--expires-at", "retentionDays": "--retention-days"}
LIST_NAMES = {"limit": "--limit", "cursor": "--cursor"}
LINK_NAMES = {"expiresIn": "--minutes"}

group = Commands(
    help=f"Upload files, look at them, download them, hand on links to them.\n\n{WHERE}\n\n{EXITS}",
    short_help="Upload files, download them, hand on links to them.",
)

FileId = Annotated[str, typer.Argument(metavar="ID", help="The whole id of a file.", show_default=False)]
FileIds = Annotated[list[str], typer.Argument(metavar="ID", help="Whole ids of files.", show_default=False)]


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="files")


@group.command()
def upload(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Files of this machine, or `-` for standard input.")
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What it shall be called. [default: the file's own name]")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="Delete it then; ISO 8601 with a time zone.")
    ] = None,
    retention_days: Annotated[
        str | None, typer.Option(metavar="N", help="Delete it after so many days, 1 to 3650. [default: it is kept]")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Upload files; their ids are printed, one a line. At most 100 MiB each.

    In a terminal, progress is shown for large ones. --json gives `{"items": […]}`.

    Examples:

        taskflow files upload photo.jpg
        taskflow files upload --retention-days 30 *.pdf
        id=$(taskflow files upload photo.jpg)
        taskflow jobs submit resize_image "{\\"file\\": \\"$id\\", \\"width\\": 640}" --wait
    """
    fields = {
        field: value
        for field, value in (("expiresAt", expires_at), ("retentionDays", retention_days))
        if value is not None
    }

    async def work(session: Session) -> None:
        from taskflow.apps.cli.filing import upload

        await upload(session, paths, name=name, fields=fields, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url, names=UPLOAD_NAMES)


@group.command("list")
def list_(
    limit: Annotated[str | None, typer.Option(metavar="N", help="At most so many, 1 to 200. [default: 50]")] = None,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on where a list ended; its last line says how.")
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    List files, newest first.

    Examples:

        taskflow files list
        taskflow files list --json | jq -r '.items[].id'
    """
    asked = given({"limit": limit, "cursor": cursor})

    async def work(session: Session) -> None:
        from taskflow.apps.cli.filing import show_page

        await show_page(session, asked, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url, names=LIST_NAMES)


@group.command()
def show(file_id: FileId, as_json: AsJson = False, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Show what is known of a file.

    Example:

        taskflow files show 019ab123-4567-7abc-8def-0123456789ab
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.filing import show

        await show(session, file_id, as_json=as_json)

    run(work, data_dir=data_dir, database_url=database_url)


@group.command()
def download(
    file_id: FileId,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Where to, a folder will do; `-` is standard output. [default: its own name, in this folder]",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Download a file; where it went is printed. It is there whole or not at all, and its checksum is checked.

    Examples:

        taskflow files download 019ab123-4567-7abc-8def-0123456789ab
        taskflow files download 019ab123-4567-7abc-8def-0123456789ab -o - | less
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.filing import download

        await download(session, file_id, output, force=force)

    run(work, data_dir=data_dir, database_url=database_url)


@group.command()
def delete(file_ids: FileIds, data_dir: DataDir = None, database_url: DatabaseUrl = None) -> None:
    """
    Delete files, at once and for good. Each is a case of its own; the exit code is 1 if any was not there.

    Example:

        taskflow files delete 019ab123-4567-7abc-8def-0123456789ab
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.filing import delete

        await delete(session, file_ids)

    run(work, data_dir=data_dir, database_url=database_url)


@group.command()
def link(
    file_id: FileId,
    minutes: Annotated[float, typer.Option(metavar="N", help="How long it shall be good, a day at most.")] = 5.0,
    as_json: AsJson = False,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """
    Print a link: whoever has it may download the file until it expires, without a key.

    It is signed with the deployment's root secret: that of the data directory, or `TASKFLOW_SECRET_KEY`. Its origin is
    `TASKFLOW_PUBLIC_URL`, or where `up` listens.

    Example:

        curl -O -J "$(taskflow files link 019ab123-4567-7abc-8def-0123456789ab)"
    """

    async def work(session: Session) -> None:
        from taskflow.apps.cli.filing import link

        await link(session, file_id, minutes=minutes, as_json=as_json, data_dir=data_dir, database_url=database_url)

    run(work, data_dir=data_dir, database_url=database_url, names=LINK_NAMES)
