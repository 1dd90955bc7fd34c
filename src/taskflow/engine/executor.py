"""
Runs attempts: one task each, under its deadline, stoppable, wherever its handler runs (`isolation`).

What an attempt came to is a value (`Outcome`) before anybody else hears of it, so one handler's failure never touches
its neighbours. An attempt is stopped by telling its isolator to and saying why: its time is over, somebody cancelled
the job, the worker drains, or the lease is gone. A handler that does not end within `CANCEL_GRACE_S` of that is made to
end, which a child process can be. On the event loop and in a thread it is *stuck*: Python cannot take a coroutine's
thread away, so it costs the process (see `worker`).

A suspect, a job that was running when a process died, runs alone in a child process wherever its handler asks to run.
On its last chance it also waits until no other such job runs here, so that it is charged for nobody else.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from taskflow.engine import policy
from taskflow.engine.board import Board
from taskflow.engine.context import JobContext, Sink
from taskflow.engine.isolation.base import Call, Isolator
from taskflow.engine.isolation.ending import Crashed, Interrupted, Raised, Returned, Verdict, raised
from taskflow.engine.isolation.loop import LoopIsolator
from taskflow.engine.isolation.process import ChildCommand, ProcessIsolator
from taskflow.engine.isolation.thread import ThreadIsolator
from taskflow.engine.job import MAX_CRASHES, Claim, JobError, JobId, LeaseId, Outcome, OutcomeKind
from taskflow.engine.outcome import Stop, outcome_of, outcome_of_stop
from taskflow.engine.registry import Kind, Registry
from taskflow.engine.trace import begin_process
from taskflow.telemetry.log import get_logger

CANCEL_GRACE_S = 5.0
TOLD_WAIT_S = 1.0  # between a signal to a child and one to its worker, from whoever signals all processes
DEFAULT_PLACES = 64
_TIMER_EARLY_S = 0.001  # by so much may the event loop's timer be early
_NEVER = float("inf")

_log = get_logger(__name__)


class _Attempt(Call):
    """One running attempt."""

    __slots__ = ("_on_begin", "_on_hand_over", "began_s", "due_s", "entered", "grace", "isolator", "line", "stop")

    def __init__(
        self,
        claim: Claim,
        kind: Kind[Any],
        context: JobContext,
        isolator: Isolator,
        on_begin: "Callable[[_Attempt], None]",
        on_hand_over: "Callable[[_Attempt], None]",
    ) -> None:
        super().__init__(claim, kind, context)
        self.isolator = isolator
        self.entered = False  # whether its task has run at all
        self.began_s: float | None = None  # when its handler was called
        self.stop: Stop | None = None
        self.due_s = _NEVER  # when its time is over, by the monotonic clock
        self.grace: asyncio.TimerHandle | None = None  # runs from when it was told to end
        self.line: int | None = None  # on the board
        self._on_begin = on_begin
        self._on_hand_over = on_hand_over

    def hand_over(self) -> None:
        self._on_hand_over(self)

    def begin(self) -> None:
        self._on_begin(self)

    @property
    def elapsed_s(self) -> float | None:
        return None if self.began_s is None else time.monotonic() - self.began_s


class Executor:
    """
    See the module.

    Args:
        on_outcome: called once for each attempt that ended while its lease stood.
        on_end: called after each attempt, whatever it came to: a place is free.
        on_stuck: called with the claim of an attempt that outlived its grace and cannot be made to end.
        sink: takes what handlers say.
        state: what handlers on the loop and in threads find at `ctx.state`.
        places: how many attempts there may be at once.
        command: how to start child processes. Without one, nothing can run in them: suspects run as they ask to.
        board: where the attempts that run when this process ends are noted.
        stopping: set once the worker has been told to stop.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        on_outcome: Callable[[Outcome], None],
        on_end: Callable[[], None],
        on_stuck: Callable[[Claim], None],
        sink: Sink,
        state: Mapping[str, Any],
        cancel_grace_s: float = CANCEL_GRACE_S,
        places: int = DEFAULT_PLACES,
        command: ChildCommand | None = None,
        board: Board | None = None,
        stopping: asyncio.Event | None = None,
    ) -> None:
        check_command(registry, command)
        self._registry = registry
        self._on_outcome = on_outcome
        self._on_end = on_end
        self._on_stuck = on_stuck
        self._state = state
        self._cancel_grace_s = cancel_grace_s
        self._board = board
        self._stopping = asyncio.Event() if stopping is None else stopping
        self._last_chance = asyncio.Lock()
        self._isolators: dict[str, Isolator] = {"asyncio": LoopIsolator(sink)}
        if registry.isolated_by("thread"):
            self._isolators["thread"] = ThreadIsolator(sink, threads=places)
        self._processes = ProcessIsolator(sink, command) if command is not None else None
        if self._processes is not None:
            self._isolators["process"] = self._processes
        self._attempts: dict[JobId, _Attempt] = {}
        self._superseded: set[_Attempt] = set()  # attempts whose job was taken back and claimed by us again
        self._idle = asyncio.Event()
        self._idle.set()
        # One timer for all, due no later than the first of them (docs/decisions/0006 has what a timer for each costs).
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_s = _NEVER

    def __len__(self) -> int:
        """How many attempts are running."""
        return len(self._attempts) + len(self._superseded)

    @property
    def _running(self) -> list[_Attempt]:
        return [*self._attempts.values(), *self._superseded]

    def keep_spare_child(self) -> None:
        """Have a child process ready for the kinds that run in one, if there are any."""
        if self._processes is not None and self._registry.isolated_by("process"):
            self._processes.keep_spare()

    def let_children_go(self) -> None:
        """Nothing will be started any more: keep no child process for it."""
        if self._processes is not None:
            self._processes.let_go()

    def start(self, claim: Claim) -> None:
        """
        Begin an attempt.

        Its task belongs to it and not to a task group: a group waits for its tasks, and one that would not end could
        then never be abandoned.
        """
        kind = self._registry[claim.kind]
        isolator = self._isolators[kind.isolation]
        if claim.suspect and self._processes is not None and not kind.trusted:
            isolator = self._processes
        attempt = _Attempt(
            claim, kind, JobContext(claim, self._state, isolator.sink), isolator, self._begun, self._note
        )
        if (earlier := self._attempts.get(claim.job_id)) is not None:
            self._superseded.add(earlier)  # it keeps its place until it has ended
            self._stop(earlier, Stop.LOST)
        self._attempts[claim.job_id] = attempt
        self._idle.clear()
        attempt.task = asyncio.get_running_loop().create_task(self._run(attempt))

    def cancel(self, job_id: JobId, *, lease_id: LeaseId | None = None) -> None:
        """
        Stop the attempt of a job that somebody cancelled; another process's job is none of ours.

        With *lease_id*, only the attempt of that lease: the job may have failed, been replayed, and run again here.
        """
        attempt = self._attempts.get(job_id)
        if attempt is not None and lease_id in (None, attempt.claim.lease_id):
            self._stop(attempt, Stop.CANCEL)

    def drop_leases(self, lost: set[LeaseId]) -> None:
        """Stop attempts whose lease the database no longer has: their jobs are somebody else's."""
        for attempt in self._running:
            if attempt.claim.lease_id in lost:
                self._stop(attempt, Stop.LOST)

    def hand_back_all(self) -> None:
        """Stop every attempt; its job goes back uncharged."""
        for attempt in self._running:
            self._stop(attempt, Stop.HAND_BACK)

    def abandon_all(self) -> list[Outcome]:
        """
        Give up on every attempt that still runs and return what it comes to; what it does from now on is ignored.

        An attempt that was told to end keeps the reason: its time was over, or its job was cancelled.
        """
        outcomes = []
        for attempt in self._running:
            if attempt.stop is not Stop.LOST:
                outcomes.append(outcome_of_stop(attempt, attempt.stop or Stop.HAND_BACK))
            attempt.stop = Stop.LOST
        return outcomes

    def kill_all(self) -> None:
        """Cancel every task and forget it: the process is being torn down."""
        self._set_alarm(_NEVER)
        for attempt in self._running:
            attempt.stop = Stop.LOST
            if attempt.task is not None:
                attempt.task.cancel()

    async def close(self) -> None:
        """Leave no timer, no thread and no child process behind."""
        self._set_alarm(_NEVER)
        for isolator in self._isolators.values():
            await isolator.close()

    async def wait_idle(self) -> None:
        """Wait until nothing runs."""
        await self._idle.wait()

    def find_by_task(self, task: "asyncio.Task[Any]") -> Claim | None:
        """Whose attempt a task is. Also for the thread that watches a blocked loop."""
        return next((attempt.claim for attempt in self._running if attempt.task is task), None)

    @property
    def lease_ids(self) -> set[LeaseId]:
        return {attempt.claim.lease_id for attempt in self._running}

    @property
    def child_pids(self) -> Mapping[str, Any]:
        """The child processes there are; see `ProcessIsolator.pids`."""
        return {} if self._processes is None else self._processes.pids

    def _begun(self, attempt: _Attempt) -> None:
        """Its handler is called now: let its time run, and note it."""
        attempt.began_s = now_s = time.monotonic()
        if attempt.stop is not None:
            return  # it was told to end in the moment that it began, and has that time for it
        attempt.due_s = now_s + attempt.claim.timeout_s
        if attempt.due_s < self._alarm_s:
            self._set_alarm(attempt.due_s)
        self._note(attempt)

    def _set_alarm(self, due_s: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._alarm_s = due_s
        if due_s < _NEVER:
            wait_s = max(0.0, due_s - time.monotonic())
            self._alarm = asyncio.get_running_loop().call_later(wait_s, self._stop_overdue)

    def _stop_overdue(self) -> None:
        """Stop the attempts whose time is over, and sleep until the next one's is; most have ended before."""
        now_s, next_s = time.monotonic() + _TIMER_EARLY_S, _NEVER
        for attempt in self._running:
            if attempt.stop is None:
                if attempt.due_s <= now_s:
                    self._stop(attempt, Stop.TIMEOUT)
                else:
                    next_s = min(next_s, attempt.due_s)
        self._set_alarm(next_s)

    def _note(self, attempt: _Attempt) -> None:
        """Note an attempt on the board; one in a child before that hears of it, which may kill us before we hear it."""
        if self._board is not None and attempt.line is None:
            attempt.line = self._board.enter(attempt.claim, alone=attempt.isolator is self._processes)

    def _stop(self, attempt: _Attempt, why: Stop) -> None:
        if attempt.stop is not None or attempt.task is None or attempt.task.done():
            return
        attempt.stop = why
        attempt.context.cancelled = True
        attempt.grace = asyncio.get_running_loop().call_later(self._cancel_grace_s, self._outlived, attempt)
        if attempt.entered:  # a task that is cancelled before its first step never runs, not even its clean-up
            attempt.isolator.stop(attempt)

    def _outlived(self, attempt: _Attempt) -> None:
        """Its grace is over. What has been made to end and does not is stuck as well."""
        if attempt.task is None or attempt.task.done():
            return
        if attempt.isolator.end(attempt):
            attempt.grace = asyncio.get_running_loop().call_later(self._cancel_grace_s, self._on_stuck, attempt.claim)
        else:
            self._on_stuck(attempt.claim)

    async def _run(self, attempt: _Attempt) -> None:
        attempt.entered = True
        process = begin_process(attempt.claim)
        outcome: Outcome | None = None
        try:
            if attempt.stop is None:
                outcome = await self._guarded(attempt)
            else:
                outcome = outcome_of_stop(attempt, attempt.stop)
        finally:
            if attempt.grace is not None:
                attempt.grace.cancel()
            if attempt.line is not None and self._board is not None:
                self._board.leave(attempt.line)
            if self._attempts.get(attempt.claim.job_id) is attempt:
                del self._attempts[attempt.claim.job_id]
            self._superseded.discard(attempt)
            if process is not None:
                process.end(None if attempt.stop is Stop.LOST else outcome)
            if not len(self):
                self._idle.set()
            self._on_end()
        if attempt.stop is not Stop.LOST:
            assert outcome is not None, "whatever else happens is raised"
            self._on_outcome(outcome)

    async def _guarded(self, attempt: _Attempt) -> Outcome:
        try:
            return await self._call(attempt)
        except Exception as error:  # noqa: BLE001 -- a payload's own checks failed, or we did: the job must not hang on it
            claim = attempt.claim
            _log.exception("taskflow.attempt.exception", job_id=str(claim.job_id), kind=claim.kind)
            return policy.failed(claim, OutcomeKind.ERROR, raised(error).error, attempt.elapsed_s)

    async def _call(self, attempt: _Attempt) -> Outcome:
        try:
            if attempt.claim.suspect and attempt.claim.crashes >= MAX_CRASHES - 1:
                async with self._last_chance:
                    ending = await attempt.isolator.call(attempt)
            else:
                ending = await attempt.isolator.call(attempt)
            if isinstance(ending, Interrupted) and attempt.began_s is not None and not await self._hears_of_a_stop():
                says = "the job's process was told to end (SIGTERM), and its worker was not"
                ending = Crashed(JobError("Crashed", says))
        except asyncio.CancelledError:
            if attempt.stop is not None:
                return outcome_of_stop(attempt, attempt.stop)
            if attempt.task is not None and attempt.task.cancelling():
                raise  # the whole process is being torn down
            escaped = JobError("CancelledError", "the handler let a cancellation of its own escape")
            return outcome_of(attempt, Raised(Verdict.ERROR, escaped))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 -- the edge of an attempt: what it raises is its outcome
            if attempt.stop is not None:  # it failed while winding down
                return outcome_of_stop(attempt, attempt.stop)
            ending = raised(error)
        if attempt.stop is not None and not isinstance(ending, Returned):
            return outcome_of_stop(attempt, attempt.stop)
        return outcome_of(attempt, ending)

    async def _hears_of_a_stop(self) -> bool:
        """
        Say whether the worker is told to stop, now or in a moment.

        Whoever signals all processes, a service manager, tells the worker too; a job that signals itself does not.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(TOLD_WAIT_S):
                await self._stopping.wait()
        return self._stopping.is_set()


def check_command(registry: Registry, command: ChildCommand | None) -> None:
    """Raise ValueError if kinds run in child processes and nothing starts one."""
    if command is None and (kinds := registry.isolated_by("process")):
        raise ValueError(f"kinds {', '.join(kinds)} run in child processes, and there is no command that starts one")
