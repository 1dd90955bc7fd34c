"""
The kinds that workers have published, each with the compiled schema of its payload.

Read at most every `FRESH_S`, and once more when somebody asks for a kind that is not there (a worker may have published
it a moment ago). While the database is away the last reading goes on to serve.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from taskflow import kinds
from taskflow.engine.client import Engine
from taskflow.engine.job import KindInfo
from taskflow.engine.payload import MAX_DETAIL_CHARS, PayloadSchema
from taskflow.kernel.errors import FieldError, Unavailable
from taskflow.kernel.json import JSONObject
from taskflow.telemetry.log import get_logger

FRESH_S = 2.0
MISS_S = 0.25  # an unknown name makes us look again at most this often

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind and what checks its payloads."""

    info: KindInfo
    schema: PayloadSchema

    def payload_errors(self, payload: JSONObject) -> list[FieldError]:
        """Return what the kind's schema finds wrong with *payload*, with pointers under `/payload`."""
        return self.schema.errors_of(payload)


class Catalogue:
    """See the module."""

    def __init__(self, engine: Engine, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._monotonic = monotonic
        self._kinds: Mapping[str, Kind] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def find(self, name: str, namespace: UUID) -> Kind | None:
        """
        Return the kind of that name, or None if there is none that *namespace* may use.

        Raises Unavailable if it was never possible to look.
        """
        await self._refresh(FRESH_S)
        if (kind := self._kinds.get(name)) is None:
            await self._refresh(MISS_S)
            kind = self._kinds.get(name)
        return kind if kind is not None and _is_for(kind.info, namespace) else None

    def expire(self) -> None:
        """Look again at the next question: kinds were published through this process."""
        if self._read_at is not None:
            self._read_at = float("-inf")

    async def list_kinds(self, namespace: UUID) -> Sequence[KindInfo]:
        """Return what *namespace* may use, by name; kinds published a quarter of a second ago are among them."""
        await self._refresh(MISS_S)
        return [kind.info for _, kind in sorted(self._kinds.items()) if _is_for(kind.info, namespace)]

    async def _refresh(self, max_age_s: float) -> None:
        asked_at = self._monotonic()
        if self._read_at is not None and asked_at - self._read_at < max_age_s:
            return
        async with self._reading:
            if self._read_at is not None and self._read_at >= asked_at:
                return  # somebody has read while we waited
            try:
                published = await self._engine.list_kinds()
            except Unavailable:
                if self._read_at is None:
                    raise
                self._read_at = self._monotonic()  # what we know serves on; the write itself will say what is wrong
                return
            self._kinds = {
                info.kind: kind
                for info in published
                if info.kind not in kinds.INTERNAL and (kind := self._compiled(info)) is not None
            }
            self._read_at = self._monotonic()

    def _compiled(self, info: KindInfo) -> Kind | None:
        known = self._kinds.get(info.kind)
        if known is not None and (known.info.schema, known.info.namespace) == (info.schema, info.namespace):
            return Kind(info, known.schema)
        try:
            return Kind(info, PayloadSchema(info.schema, foreign=info.namespace is not None))
        except ValueError as error:
            # Without its schema nothing can be checked, so nothing is taken.
            _log.error("taskflow.kind.broken", kind=info.kind, error=str(error)[:MAX_DETAIL_CHARS])
            return None


def _is_for(info: KindInfo, namespace: UUID) -> bool:
    return info.namespace is None or info.namespace == namespace
