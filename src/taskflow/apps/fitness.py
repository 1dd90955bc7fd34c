"""Whether a process that is about to start fits the schema of its database."""

import asyncio

import asyncpg

from taskflow.db.migrate import read_schema
from taskflow.db.pool import DATABASE_ERRORS

LOOK_S = 5.0


async def check_schema(url: str) -> None:
    """
    Refuse to start on a schema on which this code does not work.

    A database that is away is none of this check's business: processes wait for it.

    Raises:
        SetupError: with one line that says what to do.
    """
    try:
        async with asyncio.timeout(LOOK_S):
            connection = await asyncpg.connect(url)
            try:
                schema = await read_schema(connection)
            finally:
                await connection.close()
    except DATABASE_ERRORS + (ValueError,):  # noqa: RUF005 -- as a display, mypy takes it for other types
        return
    schema.check()
