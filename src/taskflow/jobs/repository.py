"""How far streams of submits have come: the statements of this slice, each on the connection it is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from taskflow.db.query import Connection, load_queries
from taskflow.http.problem import FieldProblem

QUERIES = load_queries(Path(__file__).parent / "queries")

_decode_errors = msgspec.json.Decoder(tuple[FieldProblem, ...]).decode


@dataclass(frozen=True, slots=True)
class StreamId:
    """A stream of submits that can go on after it broke off: whose, and by which Idempotency-Key."""

    principal_id: UUID
    key: str


@dataclass(frozen=True, slots=True)
class Position:
    """Lines up to *last_line* are stored or refused for good."""

    last_line: int = 0
    accepted: int = 0
    rejected: int = 0


class LineErrors(msgspec.Struct, frozen=True):
    """What is wrong with one line."""

    line: int
    errors: tuple[FieldProblem, ...]


class StreamRepository:
    """See the module."""

    def __init__(self, now: Callable[[], datetime | None] = lambda: None) -> None:
        self._now = now

    async def find(self, connection: Connection, stream: StreamId) -> Position | None:
        row = await QUERIES["find_stream"].fetchrow(connection, **_names(stream))
        return None if row is None else Position(**row)

    async def lock(self, connection: Connection, stream: StreamId, namespace: UUID) -> Position:
        """Lock the stream until the transaction ends; one that is new begins at line 0."""
        row = await QUERIES["lock_stream"].fetchrow(connection, namespace=namespace, now=self._now(), **_names(stream))
        assert row is not None, "an upsert returns its row"
        return Position(**row)

    async def move(
        self, connection: Connection, stream: StreamId, *, last_line: int, accepted: int, rejected: int
    ) -> Position:
        """Note that lines up to *last_line* are done, so many more of them stored and refused."""
        row = await QUERIES["move_stream"].fetchrow(
            connection, last_line=last_line, accepted=accepted, rejected=rejected, **_names(stream)
        )
        assert row is not None, "the row is locked by this transaction"
        return Position(last_line, row["accepted"], row["rejected"])

    async def keep_errors(self, connection: Connection, stream: StreamId, found: Sequence[LineErrors]) -> None:
        if found:
            await QUERIES["keep_stream_errors"].execute(
                connection,
                lines=[item.line for item in found],
                errors=[msgspec.json.encode(item.errors).decode() for item in found],
                **_names(stream),
            )

    async def list_errors(
        self, connection: Connection, stream: StreamId, *, from_line: int, limit: int
    ) -> list[LineErrors]:
        rows = await QUERIES["list_stream_errors"].fetch(connection, from_line=from_line, limit=limit, **_names(stream))
        return [LineErrors(row["line"], _decode_errors(row["errors"])) for row in rows]

    async def prune(self, connection: Connection, *, kept: timedelta, limit: int) -> int:
        """Forget streams without news for *kept*; return how many, at most *limit*."""
        return await QUERIES["prune_streams"].write(connection, now=self._now(), kept=kept, limit=limit)


def _names(stream: StreamId) -> dict[str, Any]:
    return {"principal_id": stream.principal_id, "key": stream.key}
