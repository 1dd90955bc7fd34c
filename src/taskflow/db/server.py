"""What a database says of itself: its clock, the schema in it, its version and size."""

from dataclasses import dataclass
from datetime import datetime

from taskflow.db.migrate import Schema, read_schema
from taskflow.db.query import Connection, Query


@dataclass(frozen=True, slots=True)
class Server:
    """
    A database as it was when it was asked.

    Args:
        version: as PostgreSQL writes it, such as `18.1`.
    """

    now: datetime
    version: str
    name: str
    size_bytes: int
    schema: Schema


# A COMMIT waits for the disk and for a synchronous standby if its transaction has written to the WAL (a transaction
# number alone does not count), and then for everything committed before it. This writes a record that means nothing.
_WRITE_TO_WAL = Query("write_to_wal", "SELECT pg_logical_emit_message(true, 'taskflow', '')::text")


async def confirm_what_is_seen(connection: Connection) -> None:
    """
    Let the commit of this transaction say that what it has read is as durable as a write.

    A reader may see a commit that its writer was never told of, because it still waited for the standby when it was
    cut off: a failover could lose it. Whoever answers "that is stored already" calls this before.
    """
    await _WRITE_TO_WAL.fetchval(connection)


async def read_now(connection: Connection) -> datetime:
    """Return the database's time, which everything stored is stamped with."""
    now: datetime = await connection.fetchval("SELECT now()")
    return now


async def read_server(connection: Connection) -> Server:
    """Return all of it. The size is of the files on disk and costs a look at each of them."""
    row = await connection.fetchrow(
        "SELECT now() AS now, current_setting('server_version') AS version, current_database() AS name,"
        " pg_database_size(current_database()) AS size_bytes"
    )
    if row is None:
        raise AssertionError("a SELECT without FROM returns a row")
    return Server(
        now=row["now"],
        version=row["version"].split()[0],
        name=row["name"],
        size_bytes=row["size_bytes"],
        schema=await read_schema(connection),
    )
