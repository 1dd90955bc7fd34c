"""
What `@app.job` makes of a function: it can be called as before, and submitted.

    thumbnail(source="a.png", width=640)                  runs it, here and now
    await thumbnail.enqueue(source="a.png", width=640)    submits a job that runs it
    await thumbnail.options(delay_s=60).enqueue(…)        the same, said more exactly
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import UnionType
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeAlias, TypeVar
from uuid import UUID

from taskflow.apps.sdk.arguments import Arguments
from taskflow.apps.sdk.handle import Handle
from taskflow.engine.job import PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_NORMAL, NewJob, UniqueScope
from taskflow.kernel.errors import FieldError, Invalid

if TYPE_CHECKING:
    from taskflow.apps.sdk.app import TaskFlow

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

Priority: TypeAlias = Literal["low", "normal", "high"] | int
PRIORITIES: Mapping[str, int] = {"low": PRIORITY_LOW, "normal": PRIORITY_NORMAL, "high": PRIORITY_HIGH}


@dataclass(frozen=True, slots=True)
class Options:
    """What a submit says besides the arguments; None leaves it to the job's own defaults."""

    queue: str | None = None
    priority: Priority | None = None
    retries: int | None = None
    timeout_s: float | None = None
    delay_s: float | None = None
    run_at: datetime | None = None
    tags: Sequence[str] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    callback_url: str | None = None
    unique_key: str | None = None
    unique_scope: UniqueScope | None = None
    unique_for_s: float | None = None
    expires_at: datetime | None = None
    expires_in_s: float | None = None
    connection: object = None


class Submittable(Generic[P, R_co]):
    """What can be submitted: a job function, alone or with options."""

    __slots__ = ("_app", "_function", "_options")

    def __init__(self, app: "TaskFlow", function: "JobFunction[P, R_co]", options: Options) -> None:
        self._app = app
        self._function = function
        self._options = options

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R_co]:
        """
        Submit a job with these arguments; stored when this returns, or when the transaction of `connection=` commits.

        Raises:
            Invalid: naming every argument and option that is wrong; nothing was stored.
            PayloadTooLarge: the arguments are over 256 KiB of JSON.
            Unavailable: the database is away; the submit may have happened.
            SetupError: no database is known.
        """
        [stored] = await self._app.submit([self._job(args, kwargs)], self._options.connection)
        return self._handle(*stored)

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R_co]:
        """
        As `enqueue`, without an event loop: for Flask, Django, scripts. Any thread may call it.

        Raises:
            RuntimeError: an event loop runs in this thread, and `connection=` is not given.
        """
        [stored] = self._app.submit_sync([self._job(args, kwargs)], self._options.connection)
        return self._handle(*stored)

    async def enqueue_many(
        self, calls: Iterable[Mapping[str, Any]], *, connection: object = None
    ) -> list[Handle[R_co]]:
        """
        Submit a job for each mapping of arguments, all or none, answered in their order.

        Raises:
            Invalid: pointers begin with the index of the call; nothing was stored.
        """
        connection = self._options.connection if connection is None else connection
        return [self._handle(*stored) for stored in await self._app.submit(self._jobs(calls), connection)]

    def enqueue_many_sync(self, calls: Iterable[Mapping[str, Any]], *, connection: object = None) -> list[Handle[R_co]]:
        """As `enqueue_many`, without an event loop."""
        connection = self._options.connection if connection is None else connection
        return [self._handle(*stored) for stored in self._app.submit_sync(self._jobs(calls), connection)]

    def _handle(self, job_id: UUID, duplicate: bool | None = None) -> Handle[R_co]:
        return Handle(self._app, job_id, self._function.arguments.result_type, duplicate=duplicate)

    def _jobs(self, calls: Iterable[Mapping[str, Any]]) -> list[NewJob]:
        jobs: list[NewJob] = []
        errors: list[FieldError] = []
        for index, call in enumerate(calls):
            try:
                jobs.append(self._job((), call))
            except Invalid as error:
                errors += [FieldError(f"/{index}{e.pointer}", e.code, e.detail) for e in error.errors]
        if errors:
            first = errors[0]
            raise Invalid(f"call {first.pointer[1:]} {first.detail}", errors=errors)
        return jobs

    def _job(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> NewJob:
        function, options = self._function, self._options
        return NewJob(
            kind=function.kind,
            payload=function.arguments.encode(args, kwargs),
            namespace=self._app.namespace,
            queue=function.queue if options.queue is None else options.queue,
            priority=function.priority if options.priority is None else priority_of(options.priority),
            retries=function.retries if options.retries is None else options.retries,
            timeout_s=function.timeout_s if options.timeout_s is None else options.timeout_s,
            run_at=options.run_at,
            run_after=_length("delay_s", options.delay_s),
            tags=options.tags,
            headers=options.headers,
            callback_url=options.callback_url,
            unique_key=options.unique_key,
            unique_scope=options.unique_scope,
            unique_window=_length("unique_for_s", options.unique_for_s),
            expires_at=options.expires_at,
            expires_after=_length("expires_in_s", options.expires_in_s),
        )


class JobFunction(Submittable[P, R_co]):
    """
    A function that is a job. Call it to run it here; submit it to have a worker run it.

    Attributes:
        kind: the name that its jobs go by.
    """

    def __init__(
        self,
        app: "TaskFlow",
        function: Callable[..., Any],
        arguments: Arguments,
        *,
        kind: str,
        queue: str,
        priority: int,
        retries: int,
        timeout_s: float,
    ) -> None:
        super().__init__(app, self, Options())
        self.function = function
        self.arguments = arguments
        self.kind = kind
        self.queue = queue
        self.priority = priority
        self.retries = retries
        self.timeout_s = timeout_s
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.__wrapped__ = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function, with a context if it takes one, as if it were no job."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<job {self.kind!r}: {self.__module__}.{self.__qualname__}>"

    def options(
        self,
        *,
        queue: str | None = None,
        priority: Priority | None = None,
        retries: int | None = None,
        timeout_s: float | None = None,
        delay_s: float | None = None,
        run_at: datetime | None = None,
        tags: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        callback_url: str | None = None,
        unique_key: str | None = None,
        unique_scope: Literal["until_claimed", "until_finished", "window"] | None = None,
        unique_for_s: float | None = None,
        expires_at: datetime | None = None,
        expires_in_s: float | None = None,
        connection: object = None,
    ) -> Submittable[P, R_co]:
        """
        Return the job with options for the submits that follow.

        Raises:
            Invalid: an option is of a type that it cannot have. What is out of range is found at the submit.

        Args:
            priority: high, normal, low, or 0 to 9, higher first.
            delay_s: not before so many seconds from now.
            run_at: not before this instant; with a time zone.
            tags: words to find it by, 20 at most.
            headers: short texts that ride along; the function finds them at `ctx.headers`.
            callback_url: who is told, durably, how the job ended.
            unique_key: of the jobs of this kind only one holds a key; a submit of another gives the handle of that one.
            unique_scope: how long it holds it; by default until it has finished. *unique_for_s* makes it a time.
            expires_at, expires_in_s: fail the job if no worker has taken it by then. An instant goes with *run_at*, a
                time from now with *delay_s*.
            connection: of asyncpg, psycopg, SQLAlchemy or Django: the job exists if and only if that transaction
                commits.
        """
        _check_types(
            queue=queue,
            retries=retries,
            timeout_s=timeout_s,
            delay_s=delay_s,
            run_at=run_at,
            tags=tags,
            headers=headers,
            callback_url=callback_url,
            unique_key=unique_key,
            unique_for_s=unique_for_s,
            expires_at=expires_at,
            expires_in_s=expires_in_s,
        )
        chosen = Options(
            queue=queue,
            priority=priority,
            retries=retries,
            timeout_s=timeout_s,
            delay_s=delay_s,
            run_at=run_at,
            tags=tuple(tags),
            headers=dict(headers or {}),
            callback_url=callback_url,
            unique_key=unique_key,
            unique_scope=_scope(unique_scope, unique_for_s),
            unique_for_s=unique_for_s,
            expires_at=expires_at,
            expires_in_s=expires_in_s,
            connection=connection,
        )
        return Submittable(self._app, self, chosen)

    def handle(self, job_id: UUID | str) -> Handle[R_co]:
        """Return a handle for a job of this kind that was submitted before."""
        return self._handle(job_id if isinstance(job_id, UUID) else UUID(job_id))


_TEXT, _NUMBER, _INSTANT = (str, "a text"), (int | float, "a number of seconds"), (datetime, "a datetime")
_TYPES: Mapping[str, tuple[type | UnionType, str]] = {
    "queue": _TEXT,
    "retries": (int, "a whole number"),
    "timeout_s": _NUMBER,
    "delay_s": _NUMBER,
    "run_at": _INSTANT,
    "tags": (list | tuple, "a list of texts"),
    "headers": (Mapping, "a mapping of texts"),
    "callback_url": _TEXT,
    "unique_key": _TEXT,
    "unique_for_s": _NUMBER,
    "expires_at": _INSTANT,
    "expires_in_s": _NUMBER,
}


def _check_types(**options: object) -> None:
    """Raise Invalid for options of types that they cannot have, all of them by name."""
    errors = []
    for name, value in options.items():
        types, words = _TYPES[name]
        if value is not None and (not isinstance(value, types) or isinstance(value, bool)):
            errors.append(FieldError(f"/{name}", "wrong_type", f"must be {words}, got {value!r}"))
    if errors:
        raise Invalid("; ".join(f"{error.pointer[1:]} {error.detail}" for error in errors), errors=errors)


def priority_of(value: Priority) -> int:
    """Return a priority's number. Raises Invalid."""
    if isinstance(value, str):
        if value not in PRIORITIES:
            detail = f"must be high, normal, low or a whole number from 0 to 9, got {value!r}"
            raise Invalid(f"priority {detail}", errors=[FieldError("/priority", "unknown_value", detail)])
        return PRIORITIES[value]
    return value


def _scope(scope: str | None, unique_for_s: float | None) -> UniqueScope | None:
    if scope is None:
        return None if unique_for_s is None else UniqueScope.WINDOW
    try:
        return UniqueScope(scope)
    except ValueError:
        detail = f"must be {', '.join(UniqueScope)}, got {scope!r}"
        raise Invalid(f"unique_scope {detail}", errors=[FieldError("/uniqueScope", "unknown_value", detail)]) from None


_POINTERS = {"delay_s": "/delay", "unique_for_s": "/uniqueWindow", "expires_in_s": "/ttl"}


def _length(name: str, seconds: float | None) -> timedelta | None:
    try:
        return None if seconds is None else timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        detail = f"is out of range: {seconds!r}"
        raise Invalid(f"{name} {detail}", errors=[FieldError(_POINTERS[name], "out_of_range", detail)]) from None
