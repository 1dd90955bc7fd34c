"""A schema that says of itself what a test wants: only the word changes, not the tables."""

from taskflow.db.query import Connection


def saying(revision: str, works_from: str | None) -> str:
    """Return the statements that let the schema be at *revision*, and fit for code from *works_from* on."""
    comment = "NULL" if works_from is None else f"'{works_from}'"
    return (
        f"UPDATE taskflow.alembic_version SET version_num = '{revision}'; "
        f"COMMENT ON TABLE taskflow.alembic_version IS {comment}"
    )


async def set_schema(connection: Connection, revision: str, works_from: str | None) -> None:
    """Let the schema say that it is at *revision*, and fit for code from *works_from* on."""
    await connection.execute(saying(revision, works_from))
