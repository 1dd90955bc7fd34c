"""
Which kinds of job a process can run, and how.

    registry = Registry()

    @registry.job("resize", payload=Resize, timeout_s=20, isolation="process", memory_limit_mb=512)
    def resize(ctx: JobContext, payload: Resize) -> Resized: ...

A payload type is a `msgspec.Struct`; its JSON Schema is published by workers, and the API refuses what does not fit
before it is stored. Handlers return anything that is JSON, or raise: `Retry`, `Snooze`, `Cancel` from here, `Permanent`
and `ExternalError` from `kernel.errors`; anything else is an error and is retried.

A handler's *isolation* is where it runs, and so what can stop it (docs/how-to/choose-isolation.md):

    asyncio   on the worker's event loop; async handlers, their default
    thread    in a thread of the worker; sync handlers that ask for it; cannot be stopped, only told
    process   alone in a child process of the worker; any handler, the default of sync ones; killed if need be
"""

import hashlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args

import msgspec

from taskflow.engine.context import LOG_LEVELS, Cancel, JobContext, Retry, Sink, Snooze
from taskflow.engine.job import DEFAULT_QUEUE, DEFAULT_RETRIES, DEFAULT_TIMEOUT_S, PRIORITY_NORMAL, KindInfo
from taskflow.engine.policy import Backoff, default_backoff
from taskflow.kernel.json import JSONObject

__all__ = [
    "LOG_LEVELS",
    "Cancel",
    "Handler",
    "Isolation",
    "JobContext",
    "Kind",
    "Registry",
    "Retry",
    "Sink",
    "Snooze",
]

P = TypeVar("P")
H = TypeVar("H", bound=Callable[..., Any])

Isolation: TypeAlias = Literal["asyncio", "thread", "process"]
Handler: TypeAlias = Callable[[JobContext, P], Any]  # async or not

MIN_MEMORY_MB, MAX_MEMORY_MB = 16, 1024 * 1024
MIN_CPU_S, MAX_CPU_S = 1, 24 * 3600


@dataclass(frozen=True, slots=True)
class Kind(Generic[P]):
    """A registered kind: its handler, its payload's type, and what its jobs get unless they say otherwise."""

    info: KindInfo
    schema_hash: str
    handler: Handler[P]
    decode: Callable[[str], P]
    backoff: Backoff
    is_async: bool = True
    isolation: Isolation = "asyncio"
    memory_limit_mb: int | None = None
    cpu_limit_s: int | None = None
    trusted: bool = False


class Registry:
    """The kinds of one process. Filled at import, read ever after."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind[Any]] = {}

    def job(
        self,
        kind: str,
        *,
        payload: type[P],
        schema: "JSONObject | None" = None,
        decode: Callable[[str], P] | None = None,
        queue: str = DEFAULT_QUEUE,
        priority: int = PRIORITY_NORMAL,
        retries: int = DEFAULT_RETRIES,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        backoff: Backoff = default_backoff,
        isolation: Isolation | None = None,
        memory_limit_mb: int | None = None,
        cpu_limit_s: int | None = None,
        trusted: bool = False,
    ) -> Callable[[H], H]:
        """
        Register a handler, a function of a `JobContext` and a payload: async, or sync.

        Args:
            schema, decode: of the payload, where msgspec alone does not know its parts.
            backoff: seconds to wait before the next attempt, from the number of failures so far.
            isolation: where it runs; None is asyncio for an async handler and process for a sync one.
            memory_limit_mb: how much memory (address space, MiB) an attempt may take besides what its child process
                has when it begins. More is a MemoryError in the handler. Enforced where the system does (Linux).
            cpu_limit_s: how many whole seconds of CPU time an attempt may use. More ends it as a timeout.
            trusted: it cannot end a process, so that it runs where it always does even when it is suspect: for
                handlers of our own that need secrets which child processes are not told.

        Raises:
            ValueError: the kind is registered already, or its isolation does not suit its handler or its limits.
        """

        def register(handler: H) -> H:
            if kind in self._kinds:
                raise ValueError(f"kind {kind!r} is registered twice")
            is_async = _is_async(handler)
            chosen = _check_isolation(kind, is_async, isolation, memory_limit_mb, cpu_limit_s)
            said = msgspec.json.schema(payload) if schema is None else schema
            info = KindInfo(kind, queue, said, retries, timeout_s, priority)
            self._kinds[kind] = Kind(
                info=info,
                schema_hash=schema_hash(said),
                handler=handler,
                decode=decode or msgspec.json.Decoder(payload).decode,
                backoff=backoff,
                is_async=is_async,
                isolation=chosen,
                memory_limit_mb=memory_limit_mb,
                cpu_limit_s=cpu_limit_s,
                trusted=trusted,
            )
            return handler

        return register

    def __getitem__(self, kind: str) -> Kind[Any]:
        return self._kinds[kind]

    def __len__(self) -> int:
        return len(self._kinds)

    @property
    def names(self) -> Sequence[str]:
        return sorted(self._kinds)

    @property
    def queues(self) -> Sequence[str]:
        """The queues that these kinds' jobs go to unless they say otherwise."""
        return sorted({kind.info.queue for kind in self._kinds.values()})

    @property
    def published(self) -> list[tuple[KindInfo, str]]:
        """Each kind with the hash of its schema."""
        return [(self._kinds[name].info, self._kinds[name].schema_hash) for name in self.names]

    def isolated_by(self, *isolations: Isolation) -> Sequence[str]:
        """The kinds that run in one of these ways."""
        return [name for name in self.names if self._kinds[name].isolation in isolations]


def schema_hash(schema: JSONObject) -> str:
    """Return what tells one schema of a kind from another."""
    return hashlib.sha256(msgspec.json.encode(schema, order="deterministic")).hexdigest()[:16]


def _is_async(handler: Callable[..., Any]) -> bool:
    while isinstance(handler, partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004


def _check_isolation(
    kind: str, is_async: bool, asked: Isolation | None, memory_limit_mb: int | None, cpu_limit_s: int | None
) -> Isolation:
    """Return where a handler runs; ValueError says what does not suit it."""
    isolation = asked or ("asyncio" if is_async else "process")
    if isolation not in get_args(Isolation):
        raise ValueError(f"kind {kind!r}: isolation must be one of {', '.join(get_args(Isolation))}, got {asked!r}")
    if isolation == "asyncio" and not is_async:
        raise ValueError(f"kind {kind!r}: a sync handler would block the event loop; use isolation='process'")
    if isolation == "thread" and is_async:
        raise ValueError(f"kind {kind!r}: an async handler runs in 'asyncio' or 'process', not in a thread")
    for name, value, low, high in (
        ("memory_limit_mb", memory_limit_mb, MIN_MEMORY_MB, MAX_MEMORY_MB),
        ("cpu_limit_s", cpu_limit_s, MIN_CPU_S, MAX_CPU_S),
    ):
        if value is None:
            continue
        if isolation != "process":
            raise ValueError(f"kind {kind!r}: {name} needs isolation='process', and this is {isolation!r}")
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"kind {kind!r}: {name} must be a whole number from {low} to {high}, got {value!r}")
    return isolation
