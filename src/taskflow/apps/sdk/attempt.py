"""
How an attempt of an app's job runs: hooks before, the function, the commit of its transaction, hooks after.

    before hooks ──> function ──> commit with completion ──> after hooks, in reverse
         └──────────────┴── error: rollback ────────────────────┘

The hooks after an attempt hear of its error, or of None; what they raise is logged and changes nothing, because the
job may have completed.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from taskflow.apps.sdk import models
from taskflow.apps.sdk.arguments import VERDICTS, Arguments
from taskflow.apps.sdk.context import JobContext, Transactions
from taskflow.engine.context import JobContext as EngineContext
from taskflow.engine.context import Snooze
from taskflow.telemetry.log import get_logger

BeforeAttempt = Callable[[JobContext], Awaitable[None] | None]
AfterAttempt = Callable[[JobContext, BaseException | None], Awaitable[None] | None]

AWAY_S = 5.0  # until the next attempt; no worker claims while the database is away for it too
MAX_SPARED = 20  # attempts that were not charged, for whatever reason, after which an outage is charged
SPARED = (
    "the database went away beneath the attempt's transaction: it is rolled back, and the job runs again, uncharged"
)

_log = get_logger(__name__)


@dataclass(slots=True)
class AttemptHooks:
    """What runs around every attempt, in the order of registration."""

    before: list[BeforeAttempt] = field(default_factory=list)
    after: list[AfterAttempt] = field(default_factory=list)

    def first_async(self) -> Callable[..., Any] | None:
        hooks: Sequence[Callable[..., Any]] = [*self.before, *self.after]
        return next((hook for hook in hooks if inspect.iscoroutinefunction(hook)), None)


def make_handler(
    function: Callable[..., Any], arguments: Arguments, hooks: AttemptHooks, transactions: Transactions
) -> Callable[[EngineContext, Any], Any]:
    """Return what the engine calls: async if *function* is."""

    def call(context: JobContext, payload: msgspec.Struct) -> Any:
        given = arguments.decode(payload)
        return function(context, **given) if arguments.takes_context else function(**given)

    async def run(inner: EngineContext, payload: Any) -> Any:
        context = JobContext(inner, transactions)
        failure: BaseException | None = None
        try:
            for before in hooks.before:
                await _awaited(before(context))
            result = _plain(await call(context, payload))
            await context.settle_async(result)
            return result
        except BaseException as error:
            failure = error
            await context.leave_async(error)
            if _is_spared(context, error):
                raise Snooze(AWAY_S) from error
            raise
        finally:
            for after in reversed(hooks.after):
                try:
                    await _awaited(after(context, failure))
                except Exception:  # noqa: BLE001 -- the application's function
                    _log.exception("taskflow.hook.exception", job_id=str(context.job_id), kind=context.kind)

    def run_sync(inner: EngineContext, payload: Any) -> Any:
        context = JobContext(inner, transactions)
        failure: BaseException | None = None
        try:
            for before in hooks.before:
                before(context)
            result = _plain(call(context, payload))
            context.settle_sync(result)
            return result
        except BaseException as error:
            failure = error
            context.leave_sync(error)
            if _is_spared(context, error):
                raise Snooze(AWAY_S) from error
            raise
        finally:
            for after in reversed(hooks.after):
                try:
                    after(context, failure)
                except Exception:  # noqa: BLE001 -- the application's function
                    _log.exception("taskflow.hook.exception", job_id=str(context.job_id), kind=context.kind)

    return run if inspect.iscoroutinefunction(function) else run_sync


def _is_spared(context: JobContext, error: BaseException) -> bool:
    """
    Whether what went wrong was the database's doing and not the job's: it went away beneath its transaction.

    A verdict stands: the function knew what it said. And not for ever: a statement that takes the server down each time
    would go on doing so.
    """
    if not isinstance(error, Exception) or isinstance(error, VERDICTS):
        return False
    if not context.met_outage or context.attempt - context.failures > MAX_SPARED:
        return False
    context.log(SPARED, "warning")
    return True


def _plain(result: Any) -> Any:
    """Return a result without models in it; raise it if it is a verdict."""
    if isinstance(result, VERDICTS):
        raise result
    if models.is_model(type(result)):
        return models.write(result)
    return result


async def _awaited(value: Awaitable[None] | None) -> None:
    if value is not None:
        await value
