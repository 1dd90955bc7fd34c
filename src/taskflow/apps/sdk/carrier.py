"""
Other people's transactions: submitting on a connection of asyncpg, psycopg, SQLAlchemy or Django, and waking after its
commit.

The jobs go in by one statement that any driver can send (`enqueue_elsewhere.sql`). Nothing is announced inside the
transaction. Where the library says when it has committed (a SQLAlchemy session, Django), workers are woken then; else
their poll finds the jobs within a second.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from taskflow.engine.job import NewJob
from taskflow.engine.store import Store

KNOWN = (
    "asyncpg.Connection, psycopg.Connection or AsyncConnection, a Session, AsyncSession, Connection or "
    "AsyncConnection of SQLAlchemy, or django.db.connection of PostgreSQL"
)
_WAITING = "taskflow.waiting"  # in a session's info: what its commit is to announce
_SQLALCHEMY_ASYNC = (
    "sqlalchemy.ext.asyncio"  # needs more than SQLAlchemy alone: whoever has such an object has loaded it
)

# jobs stored → called once the transaction has committed
AfterCommit = Callable[[Sequence[NewJob]], None]
# a job's id, and whether it held the unique key already; None if the schema is too old to say
Stored: TypeAlias = tuple[UUID, bool | None]


async def submit(connection: object, jobs: Sequence[NewJob], after_commit: AfterCommit) -> list[Stored]:
    """
    Submit *jobs*, checked before, in the transaction of an async connection.

    Raises:
        TypeError: it is no connection that we know, or a sync one.
    """
    query, text = Store().elsewhere(jobs)
    if isinstance(connection, (asyncpg.Connection, PoolConnectionProxy)):
        return _stored(jobs, await connection.fetch(query.sql, text))
    family = _family(connection)
    if family == "psycopg":
        import psycopg

        if isinstance(connection, psycopg.AsyncConnection):
            async with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
                await cursor.execute(query.written_for("%({name})s").encode(), {"jobs": text})
                return _stored(jobs, await cursor.fetchall())
    elif family == "sqlalchemy" and _SQLALCHEMY_ASYNC in sys.modules:
        from sqlalchemy import text as statement
        from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

        if isinstance(connection, async_scoped_session):
            connection = connection()
        if isinstance(connection, (AsyncSession, AsyncConnection)):
            found = await connection.execute(statement(query.written_for(":{name}")), {"jobs": text})
            stored = _stored(jobs, found.all())
            if isinstance(connection, AsyncSession):
                _on_commit(connection.sync_session, jobs, after_commit)
            return stored
    raise TypeError(_refusal(connection, "enqueue_sync"))


def announces(connection: object) -> bool:
    """Say whether an async connection tells us of its commit."""
    if _family(connection) != "sqlalchemy" or _SQLALCHEMY_ASYNC not in sys.modules:
        return False
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

    return isinstance(connection, (AsyncSession, async_scoped_session))


def is_in_transaction(connection: object) -> bool:
    """Say whether what was submitted on *connection* is not committed yet; False under autocommit."""
    if isinstance(connection, (asyncpg.Connection, PoolConnectionProxy)):
        return bool(connection.is_in_transaction())
    if _family(connection) == "psycopg":
        import psycopg

        if isinstance(connection, psycopg.Connection | psycopg.AsyncConnection):
            return connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE
    if (wrapper := _django_wrapper(connection)) is not None:
        return not wrapper.get_autocommit()
    return True


def submit_sync(connection: object, jobs: Sequence[NewJob], after_commit: AfterCommit) -> list[Stored]:
    """Submit *jobs* in the transaction of a sync connection. As `submit`."""
    query, text = Store().elsewhere(jobs)
    family = _family(connection)
    if family == "psycopg":
        import psycopg

        if isinstance(connection, psycopg.Connection):
            with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
                cursor.execute(query.written_for("%({name})s").encode(), {"jobs": text})
                return _stored(jobs, cursor.fetchall())
    elif family == "sqlalchemy":
        from sqlalchemy import Connection
        from sqlalchemy import text as statement
        from sqlalchemy.orm import Session, scoped_session

        if isinstance(connection, scoped_session):
            connection = connection()
        if isinstance(connection, (Session, Connection)):
            found = connection.execute(statement(query.written_for(":{name}")), {"jobs": text})
            stored = _stored(jobs, found.all())
            if isinstance(connection, Session):
                _on_commit(connection, jobs, after_commit)
            return stored
    elif (wrapper := _django_wrapper(connection)) is not None:
        with wrapper.cursor() as cursor:
            cursor.execute(query.written_for("%({name})s"), {"jobs": text})
            stored = _stored(jobs, cursor.fetchall())
        if wrapper.in_atomic_block or wrapper.get_autocommit():  # else its user commits, and Django hears of nothing
            wrapper.on_commit(lambda: after_commit(jobs))
        return stored
    raise TypeError(_refusal(connection, "enqueue"))


def _stored(jobs: Sequence[NewJob], rows: Iterable[Sequence[Any]]) -> list[Stored]:
    """Read the statement's answer: of a job without a unique key it says nothing, and nothing else is a duplicate."""
    return [
        (job_id, False if job.unique_key is None else duplicate)
        for job, (job_id, duplicate) in zip(jobs, rows, strict=True)
    ]


def _on_commit(session: Any, jobs: Sequence[NewJob], after_commit: AfterCommit) -> None:
    """Call *after_commit* when the session's present transaction commits, and not when it is rolled back."""
    waiting: list[tuple[AfterCommit, Sequence[NewJob]]] | None = session.info.get(_WAITING)
    if waiting is None:
        from sqlalchemy import event

        waiting = session.info[_WAITING] = []
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_rollback", _rolled_back)
    waiting.append((after_commit, jobs))


def _committed(session: Any) -> None:
    waiting = session.info[_WAITING]
    told, waiting[:] = list(waiting), []
    for after_commit, jobs in told:
        after_commit(jobs)


def _rolled_back(session: Any) -> None:
    session.info[_WAITING].clear()


def _django_wrapper(connection: object) -> Any:
    """Return *connection* if it is `django.db.connection`, or one of `connections`, and of PostgreSQL; else None."""
    if _family(connection) != "django":
        return None
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.utils.connection import ConnectionProxy

    is_known = isinstance(connection, (BaseDatabaseWrapper, ConnectionProxy))
    return connection if is_known and getattr(connection, "vendor", None) == "postgresql" else None


def _family(connection: object) -> str:
    """Return the library that *connection* is of, without importing one."""
    families = {base.__module__.partition(".")[0] for base in type(connection).__mro__}
    return next((name for name in ("psycopg", "sqlalchemy", "django") if name in families), "")


def _refusal(connection: object, other: str) -> str:
    given = f"{type(connection).__module__}.{type(connection).__qualname__}"
    if _family(connection) or isinstance(connection, (asyncpg.Connection, PoolConnectionProxy)):
        return f"{given} is a connection for {other}(), or none that can carry jobs; known are {KNOWN}"
    return f"connection must be one of {KNOWN}, got {given}"
