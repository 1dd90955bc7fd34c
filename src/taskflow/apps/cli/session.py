"""
What `taskflow jobs` and `taskflow status` share: which database is meant, the services on it, and how a command ends.

These commands work on the database itself, as the operator of the deployment. They need no API and no key, so they
serve just as well while the API is down.

An error that can be foreseen ends as one line on stderr and an exit code:

    0  done
    1  could not be done: no database, no such job, its state does not allow it, it did not complete
    2  was asked wrongly; the line names each field and its limit
"""

import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from taskflow.apps.cli.output import clean
from taskflow.apps.settings import Settings, address_of
from taskflow.kernel.errors import (
    DomainError,
    EngineError,
    FieldError,
    Invalid,
    PayloadTooLarge,
    SetupError,
    Unavailable,
)

if TYPE_CHECKING:
    from taskflow.db.pool import Database
    from taskflow.engine.client import Engine
    from taskflow.identity.access import Principal
    from taskflow.jobs.service import Jobs

REFUSED, MISUSED, INTERRUPTED = 1, 2, 130
PATIENCE_S = 2.0  # for a database that restarts just now
MAX_ERRORS_SHOWN = 10

WHERE = (
    "They work on the database itself, whether the API runs or not: that of the `taskflow up` on this machine, or the "
    "one that `TASKFLOW_DATABASE_URL` names."
)
EXITS = "Exit codes: 0 done, 1 could not be done, 2 asked wrongly; errors are one line on stderr."

DataDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Data directory of a running `taskflow up`; goes before TASKFLOW_DATABASE_URL. [default: your data "
        "directory; /var/lib/taskflow for root]"
    ),
]
DatabaseUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(help="The database itself, postgresql://… Others may see a password here; the variable hides it."),
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="One JSON document, as the API gives it.")]


@dataclass(frozen=True, slots=True)
class Place:
    """
    Which database, and how it was found.

    Args:
        development: whether `forceFail` is allowed in payloads, as the API of that deployment would have it.
    """

    url: str
    development: bool

    @property
    def address(self) -> str:
        """Host, port and name of the database, without user and password."""
        return address_of(self.url)


@dataclass(frozen=True, slots=True)
class Session:
    """
    The services on one database, and who uses them.

    Args:
        asked_at: what the database's clock said when ours, the monotonic one, said *asked_s*.
    """

    place: Place
    database: "Database"
    engine: "Engine"
    jobs: "Jobs"
    principal: "Principal"
    asked_at: datetime
    asked_s: float

    @property
    def now(self) -> datetime:
        """The database's time."""
        return self.asked_at + timedelta(seconds=time.monotonic() - self.asked_s)


class Failure(Exception):
    """Ends a command with one line on stderr."""

    def __init__(self, line: str, code: int = REFUSED) -> None:
        super().__init__(line)
        self.code = code


def find_place(data_dir: Path | None, database_url: str | None) -> Place:
    """
    Return the database that is meant: `--database-url`, else `--data-dir`, else the environment's URL, else the
    data directory of this user.

    Raises:
        SetupError: there is none; says what to do.
    """
    if data_dir is not None and database_url is not None:
        raise Failure("give --data-dir or --database-url, not both", MISUSED)
    settings = Settings.from_env(data_dir=data_dir, database_url=database_url)
    if settings.database_url is not None and data_dir is None:
        return Place(settings.database_url, settings.is_development)
    from taskflow.apps.data_dir import DataDirectory

    # What runs there is a `taskflow up`, so its rule says whether it is for development.
    url = DataDirectory(settings.data_dir).get_database_url()
    return Place(url, Settings.from_env(command="up", data_dir=data_dir).is_development)


def run(
    work: Callable[[Session], Awaitable[None]],
    *,
    data_dir: Path | None,
    database_url: str | None,
    names: Mapping[str, str] | None = None,
) -> None:
    """
    Run *work* on the database that is meant, and end the command as the module says.

    Args:
        names: as for `ending`.
    """
    import asyncio  # here, like all that `taskflow --help` can do without

    with ending(names):
        place = find_place(data_dir, database_url)
        asyncio.run(_run(place, work))


async def _run(place: Place, work: Callable[[Session], Awaitable[None]]) -> None:
    from taskflow.db.migrate import read_schema
    from taskflow.db.server import read_now

    async with opened(place) as database:
        async with database.acquire() as connection:
            (await read_schema(connection)).check()
            now = await read_now(connection)
        await work(make_session(place, database, now))


@asynccontextmanager
async def opened(place: Place) -> "AsyncIterator[Database]":
    """
    Lend a small pool on a database that has just answered.

    Raises:
        Unavailable: it does not answer.
        SetupError: its URL cannot be understood.
    """
    from taskflow.db.pool import Database

    database = Database(place.url, max_size=3, application_name="taskflow cli", patience_s=PATIENCE_S)
    try:
        try:
            async with database.acquire():
                pass
        except ValueError as error:
            raise SetupError(f"the database URL is not valid: {error}") from None
        except Unavailable as error:
            raise Unavailable(f"the database at {place.address} cannot be reached") from error.__cause__
        yield database
    finally:
        await database.stop()


def make_session(place: Place, database: "Database", now: datetime) -> Session:
    """Put the services together, as the API does."""
    from taskflow.engine.client import Engine
    from taskflow.engine.job import DEFAULT_NAMESPACE
    from taskflow.identity.access import Permission, Principal
    from taskflow.jobs.catalogue import Catalogue
    from taskflow.jobs.service import Jobs

    engine = Engine(database)
    return Session(
        place=place,
        database=database,
        engine=engine,
        jobs=Jobs(engine, Catalogue(engine), development=place.development),
        principal=Principal(DEFAULT_NAMESPACE, DEFAULT_NAMESPACE, "operator", frozenset(Permission)),
        asked_at=now,
        asked_s=time.monotonic(),
    )


def describe(error: BaseException, names: Mapping[str, str] | None = None) -> str:
    """Return *error* in one line that is safe to show."""
    from taskflow.telemetry.log import redacted

    if isinstance(error, DomainError) and error.errors:
        found = [f"{_named(item, names or {})}: {item.detail}" for item in error.errors[:MAX_ERRORS_SHOWN]]
        if (more := len(error.errors) - len(found)) > 0:
            found.append(f"and {more} more")
        return clean(redacted("; ".join(found)))
    text = _text(error)
    if isinstance(error, DomainError) and error.__cause__ is not None:
        text += f": {_text(error.__cause__)}"
    return clean(redacted(text))


def complain(line: str) -> None:
    """Write an error line."""
    typer.echo(f"taskflow: {clean(line)}", err=True)


@contextmanager
def ending(names: Mapping[str, str] | None = None) -> Iterator[None]:
    """
    Turn what can be foreseen into a line and an exit code.

    Args:
        names: what fields are called on this command line, by the name that the services know them by.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that cannot show a character shows its number
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    except Failure as failure:
        complain(str(failure))
        raise typer.Exit(failure.code) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except (Invalid, PayloadTooLarge) as error:
        complain(describe(error, names))
        raise typer.Exit(MISUSED) from None
    except (SetupError, DomainError, EngineError) as error:
        complain(describe(error))
        raise typer.Exit(REFUSED) from None
    except Exception as error:
        import asyncpg

        if isinstance(error, BrokenPipeError):
            raise  # a reader such as `head` has enough; the frame ends quietly
        lost = (asyncpg.InterfaceError, asyncpg.InternalClientError, ConnectionError, TimeoutError)
        if not isinstance(error, (asyncpg.PostgresError, *lost)):
            raise
        complain(f"the database {'went away' if isinstance(error, lost) else 'refused'}: {describe(error)}")
        raise typer.Exit(REFUSED) from None


def _text(error: BaseException) -> str:
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return words.strip().partition("\n")[0] or type(error).__name__


_STEP = re.compile(r"/?([^/]*)")


def _named(item: FieldError, names: Mapping[str, str]) -> str:
    """Return what the field is called on the command line; places inside the payload stay as they are."""
    match = _STEP.match(item.pointer)
    first = match.group(1) if match else ""
    if first == "payload" and item.pointer.count("/") > 1:
        return item.pointer
    return names.get(first, f"/{item.pointer.lstrip('/')}" if item.pointer else "request")
