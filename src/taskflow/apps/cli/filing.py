"""What `taskflow files` does with the service, and what it prints."""

import asyncio
import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO
from urllib.parse import urlencode
from uuid import UUID

import typer
from pydantic import ValidationError

from taskflow.adapters.blobs import BlobGone, DatabaseBlobs
from taskflow.apps.cli.output import Column, Output, clean, iso, size
from taskflow.apps.cli.session import MISUSED, REFUSED, Failure, Session, complain, describe
from taskflow.apps.data_dir import DataDirectory, complete
from taskflow.apps.settings import Settings
from taskflow.files.link import MAX_LIFETIME_S, Links
from taskflow.files.repository import File
from taskflow.files.schemas import FilePageView, LinkView, ListFiles, read_fields, view_of_file
from taskflow.files.service import Files, file_id_of
from taskflow.files.spool import BUFFER_BYTES
from taskflow.http.secret import RootSecret
from taskflow.http.validation import field_errors
from taskflow.kernel.errors import Invalid, NotFound, TooLarge

PROGRESS_BYTES = 8 * 1024 * 1024  # smaller files are done before a bar could be read
STANDARD = Path("-")
COLUMNS = (
    Column("ID"),
    Column("NAME", least=12),
    Column("SIZE", right=True),
    Column("TYPE", rank=2, least=10),
    Column("CREATED", rank=1),
    Column("EXPIRES", rank=3),
    Column("JOB", rank=4),
)


def files_of(session: Session) -> Files:
    """Return the service, as the API makes it."""
    return Files(session.database, DatabaseBlobs(session.database))


async def upload(
    session: Session, paths: Sequence[Path], *, name: str | None, fields: Mapping[str, str], as_json: bool
) -> None:
    """Keep files of this machine and print their ids."""
    if name is not None and len(paths) > 1:
        raise Failure("--name: goes with one file", MISUSED)
    parsed = read_fields(fields)
    out = Output(session.now)
    items = []
    try:
        for path in paths:
            file = await upload_one(session, path, name=name, expires_at=parsed.expiresAt, retention=parsed.retention)
            items.append(view_of_file(file))
            if not as_json:
                out.line(str(file.id))
    finally:
        if as_json:  # also when one could not be had: this is what has been done
            out.json({"items": items})


def check_readable(path: Path) -> None:
    """Raise Failure, as `upload_one` does, if a file of this machine cannot be read."""
    try:
        with _opened(path) as source:
            source.read(0)
    except OSError as error:
        raise Failure(f"PATH: cannot read {str(path)!r}: {error.strerror}", MISUSED) from error


async def upload_one(session: Session, path: Path, *, name: str | None = None, **retention: object) -> File:
    """Keep one file of this machine. Raises Failure, naming it: it cannot be read, or is over the limit."""
    files = files_of(session)
    try:
        with _opened(path) as source, files.spool() as spool:
            length = 0 if path == STANDARD else os.fstat(source.fileno()).st_size
            while piece := await asyncio.to_thread(source.read, BUFFER_BYTES):
                await spool.write(piece)
            await spool.finish()
            with _progress(f"storing {path.name}", length) as advance:
                return await files.keep(
                    spool,
                    namespace=session.principal.namespace,
                    name=name or ("standard input" if path == STANDARD else path.name),
                    on_kept=advance,
                    **retention,  # type: ignore[arg-type]  # expires_at and retention
                )
    except OSError as error:
        if error.filename is None and not isinstance(error, IsADirectoryError):
            raise  # not of this file: the database's connection
        raise Failure(f"PATH: cannot read {str(path)!r}: {error.strerror}", MISUSED) from error
    except TooLarge as error:
        raise Failure(f"PATH: {str(path)!r}: {error.detail}", MISUSED) from None


async def show_page(session: Session, asked: Mapping[str, str], *, as_json: bool) -> None:
    """List a page of files; on stderr, how to go on."""
    try:
        query = ListFiles.model_validate(asked)
        before = None if query.cursor is None else UUID(query.cursor)
    except ValidationError as error:
        raise Invalid("the list cannot be had", errors=field_errors(error, parameters=tuple(asked))) from None
    except ValueError:
        raise Failure("--cursor: must be an id, as the last line of a list shows it", MISUSED) from None
    namespace = session.principal.namespace
    files = await files_of(session).list_files(namespace, before=before, limit=query.limit + 1)
    more, files = len(files) > query.limit, files[: query.limit]
    out = Output(session.now)
    if as_json:
        out.json(FilePageView([view_of_file(file) for file in files], str(files[-1].id) if more else None))
        return
    if files:
        out.table(COLUMNS, [_row(out, file) for file in files])
    else:
        typer.echo("no files", err=True)
    if more:
        typer.echo(f"more: --cursor {files[-1].id}", err=True)


async def show(session: Session, text: str, *, as_json: bool) -> None:
    """Show one file."""
    file = await _find(session, text)
    out = Output(session.now)
    if as_json:
        out.json(view_of_file(file))
        return
    out.facts(
        [
            ("id", str(file.id), ""),
            ("name", clean(file.name), ""),
            ("size", f"{size(file.size)} ({file.size} bytes)" if file.size >= 1024 else f"{file.size} bytes", ""),
            ("type", file.type, ""),
            ("sha256", file.sha256.hex(), ""),
            ("job", str(file.job_id) if file.job_id else "", ""),
            ("created", out.full_time(file.created_at), ""),
            ("expires", out.full_time(file.expires_at), ""),
        ]
    )


async def download(session: Session, text: str, output: Path | None, *, force: bool) -> None:
    """Write a file's content to where it shall go."""
    file = await _find(session, text)
    if output == STANDARD:
        async for piece in files_of(session).open(file):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return
    target = _target(file, output, force=force)
    try:
        await _write_whole(session, file, target)
    except OSError as error:
        if error.filename is None:
            raise
        raise Failure(f"cannot write {str(target)!r}: {error.strerror}") from error
    except BlobGone:
        raise Failure(f"file {file.id} was deleted meanwhile") from None
    Output(session.now).line(clean(str(target)))


async def delete(session: Session, texts: Sequence[str]) -> None:
    """Delete files one by one; say what became of each, refusals on stderr."""
    out = Output(session.now)
    refused = False
    for text in texts:
        try:
            file_id = file_id_of(text)
            await files_of(session).delete(file_id, namespace=session.principal.namespace)
        except NotFound as error:
            complain(describe(error))
            refused = True
        else:
            out.line(f"{file_id}  deleted")
    if refused:
        raise typer.Exit(REFUSED)


async def link(
    session: Session,
    text: str,
    *,
    minutes: float,
    as_json: bool,
    data_dir: Path | None,
    database_url: str | None,
) -> None:
    """Print a signed link."""
    if not 0 < minutes * 60 <= MAX_LIFETIME_S:
        raise Failure(f"--minutes: must be above 0 and at most {MAX_LIFETIME_S // 60}, got {minutes:g}", MISUSED)
    file = await _find(session, text)
    settings = complete(Settings.from_env(data_dir=data_dir, database_url=database_url))
    assert settings.secret_key is not None, "completed"
    expires_at = (session.now + timedelta(minutes=minutes)).replace(microsecond=0)
    if file.expires_at is not None:
        expires_at = min(expires_at, file.expires_at.replace(microsecond=0))
    query = Links(RootSecret(settings.secret_key.encode())).sign(file.id, expires_at)
    origin = settings.public_url or DataDirectory(settings.data_dir).read_credentials().get(
        "url", f"http://{settings.host}:{settings.port}"
    )
    url = f"{origin}/api/v1/files/{file.id}/content?{urlencode(query)}"
    out = Output(session.now)
    if as_json:
        out.json(LinkView(url, expires_at))
        return
    out.line(url)
    typer.echo(f"good until {iso(expires_at)}", err=True)


async def _find(session: Session, text: str) -> File:
    return await files_of(session).get_file(file_id_of(text), namespace=session.principal.namespace)


async def _write_whole(session: Session, file: File, target: Path) -> None:
    """Write beside *target*, check, and put in its place."""
    digest = hashlib.sha256()
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as part, _progress(f"loading {file.name}", file.size) as advance:
            async for piece in files_of(session).open(file):
                digest.update(piece)
                part.write(piece)
                advance(len(piece))
        _put_in_place(name, target, file, digest.digest())
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108 -- a few microseconds, on the way out
        raise


def _target(file: File, output: Path | None, *, force: bool) -> Path:
    target = Path(file.name) if output is None else output / file.name if output.is_dir() else output
    if target.exists() and not force:
        raise Failure(f"{str(target)!r} is there already; --force replaces it, --output names another place")
    return target


def _put_in_place(name: str, target: Path, file: File, digest: bytes) -> None:
    if digest != file.sha256:
        raise Failure(f"the content of file {file.id} does not have its checksum")
    umask = os.umask(0)
    os.umask(umask)
    Path(name).chmod(0o666 & ~umask)  # as any other new file
    Path(name).replace(target)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path == STANDARD:
        yield sys.stdin.buffer
        return
    with path.open("rb") as source:
        yield source


@contextlib.contextmanager
def _progress(label: str, length: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal while something large is under way; yield what moves it on."""
    if length < PROGRESS_BYTES or not sys.stderr.isatty():
        yield lambda _count: None
        return
    with typer.progressbar(length=length, label=clean(label)[:40], file=sys.stderr) as bar:
        yield bar.update


def _row(out: Output, file: File) -> Sequence[str]:
    return (
        str(file.id),
        clean(file.name),
        size(file.size),
        file.type,
        out.time(file.created_at),
        out.time(file.expires_at),
        str(file.job_id) if file.job_id else "",
    )
