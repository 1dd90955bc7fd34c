"""
The conformance suite of the isolators: one handler, run on the loop, in a thread, in child processes.

All of a module's tests share an event loop and one executor per way to run, so that child processes are used again as
they are in a worker.
"""

import asyncio
import itertools
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.engine.isolated import CPU_S, MEMORY_MB, command, make_registry
from tests.engine.test_executor import make_claim
from tests.support.sink import Notes
from tests.support.waiting import eventually

from taskflow.engine import executor as executor_module
from taskflow.engine.executor import Executor
from taskflow.engine.isolation import process as module
from taskflow.engine.isolation.base import Call, Isolator
from taskflow.engine.isolation.ending import Interrupted, Returned
from taskflow.engine.isolation.process import ChildCommand
from taskflow.engine.job import (
    MAX_CRASHES,
    MAX_RESULT_BYTES,
    Claim,
    FailureReason,
    JobId,
    Outcome,
    OutcomeKind,
    State,
)
from taskflow.engine.registry import JobContext, Registry

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

GRACE_S = 10.0
SHORT_GRACE_S = 0.3
WAYS = {
    "asyncio": ("asyncio", "async"),
    "thread": ("thread", "sync"),
    "process, sync": ("process", "sync"),
    "process, async": ("process", "async"),
}


class Rig:
    """An executor, and all that it said."""

    def __init__(self, way: str) -> None:
        isolation, mode = WAYS[way]
        self.notes = Notes()
        self.stuck: list[Claim] = []
        self.stopping = asyncio.Event()
        self._outcomes: dict[JobId, asyncio.Future[Outcome]] = {}
        self.executor = Executor(
            make_registry(isolation, mode),  # type: ignore[arg-type]
            on_outcome=lambda outcome: self._outcomes[outcome.claim.job_id].set_result(outcome),
            on_end=lambda: None,
            on_stuck=self.stuck.append,
            sink=self.notes,
            state={"opened_by": os.getpid()},
            cancel_grace_s=GRACE_S,
            command=command(mode) if isolation == "process" else None,
            stopping=self.stopping,
        )

    def start(self, kind: str, *, what: str = "", path: Path | str = "", size: int = 0, **changes: Any) -> Claim:
        payload = json.dumps({"what": what, "path": str(path), "size": size})
        claim = make_claim(kind, payload, **changes)
        self._outcomes[claim.job_id] = asyncio.get_running_loop().create_future()
        self.executor.start(claim)
        return claim

    async def outcome(self, claim: Claim) -> Outcome:
        async with asyncio.timeout(20):
            return await self._outcomes[claim.job_id]

    async def run(self, kind: str, **options: Any) -> Outcome:
        return await self.outcome(self.start(kind, **options))

    def lines(self, claim: Claim) -> list[tuple[str, str]]:
        return [(line.level, line.message) for line in self.notes.lines if line.claim.job_id == claim.job_id]

    async def close(self) -> None:
        self.executor.kill_all()
        async with asyncio.timeout(20):
            await self.executor.wait_idle()
            await self.executor.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rigs() -> AsyncIterator[dict[str, Rig]]:
    rigs = {way: Rig(way) for way in WAYS}
    yield rigs
    await asyncio.gather(*(rig.close() for rig in rigs.values()))


@pytest.fixture(params=WAYS)
def rig(request: pytest.FixtureRequest, rigs: dict[str, Rig]) -> Rig:
    return rigs[request.param]


@pytest.fixture
def process(rigs: dict[str, Rig]) -> Rig:
    return rigs["process, sync"]


def call_of(kind: str, isolator: Isolator) -> Call:
    claim = make_claim(kind)
    return Call(claim, make_registry("process", "async")[kind], JobContext(claim, {}, isolator.sink))


async def begun(path: Path) -> None:
    await eventually("the handler to begin", path.exists, within_s=20)


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the second: it ended between opening and reading
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


# What all have in common ---------------------------------------------------------------------------------------------


async def test_a_handler_knows_its_job_and_what_it_returns_is_the_result(rig: Rig) -> None:
    claim = rig.start("echo", what="ä", attempt=4, failures=2, queue="q", headers={"request_id": "r"})
    outcome = await rig.outcome(claim)
    assert (outcome.kind, outcome.state, outcome.failures) == (OutcomeKind.COMPLETED, State.COMPLETED, 2)
    assert json.loads(outcome.result or "") == {
        "what": "ä",
        "attempt": 4,
        "failures": 2,
        "kind": "echo",
        "queue": "q",
        "headers": {"request_id": "r"},
        "job_id": str(claim.job_id),
        "has_time": True,
        "cancelled": False,
    }
    assert outcome.duration_s is not None


async def test_a_result_may_be_as_large_as_its_limit_and_no_larger(rig: Rig) -> None:
    outcome = await rig.run("large")
    assert outcome.state is State.COMPLETED
    assert len(outcome.result or "") == MAX_RESULT_BYTES
    for kind, says in (("too_large", f"the limit is {MAX_RESULT_BYTES}"), ("opaque", "is not JSON")):
        refused = await rig.run(kind)
        assert (refused.state, refused.failure_reason) == (State.FAILED, FailureReason.PERMANENT)
        assert refused.error is not None
        assert refused.error.type == "InvalidResult"
        assert says in refused.error.message


async def test_a_payload_that_does_not_fit_its_type_fails_the_job_for_good(rig: Rig) -> None:
    claim = make_claim("echo", '{"size":"one"}')
    rig._outcomes[claim.job_id] = asyncio.get_running_loop().create_future()
    rig.executor.start(claim)
    outcome = await rig.outcome(claim)
    assert (outcome.state, outcome.failure_reason) == (State.FAILED, FailureReason.PERMANENT)
    assert outcome.error is not None
    assert (outcome.error.type, "size" in outcome.error.message) == ("InvalidPayload", True)


async def test_what_a_handler_prints_goes_to_the_workers_output_and_not_to_its_log(
    rig: Rig, capfd: pytest.CaptureFixture[str]
) -> None:
    old = [pid for pids in rig.executor.child_pids.values() for pid in pids]
    for pid in old:  # they have the output of the test that started them, those that still boot as well
        os.kill(pid, signal.SIGKILL)
    await eventually("them to be gone", lambda: not any(is_alive(pid) for pid in old))
    await eventually("that to be known", lambda: not rig.executor.child_pids.get("idle"))
    claim = rig.start("print", size=100_000)
    assert (await rig.outcome(claim)).result == '"done"'
    assert [line.message for line in rig.notes.lines if line.claim is claim] == ["logged by a handler"]
    out = ""

    def is_written() -> bool:
        nonlocal out
        out += capfd.readouterr().out
        return "written by a handler" in out

    await eventually("its words to be written", is_written)
    assert (await rig.run("echo")).kind is OutcomeKind.COMPLETED


async def test_lines_arrive_in_order_and_before_the_outcome(rig: Rig) -> None:
    claim = rig.start("log", size=30)
    await rig.outcome(claim)
    levels = ["info", "warning"] + ["info"] * 28
    assert rig.lines(claim) == [(level, f"line {number}") for number, level in enumerate(levels)]


@pytest.mark.parametrize(
    ("what", "state", "kind", "wait_s", "error"),
    [
        ("retry", State.RETRYING, OutcomeKind.ERROR, 7.5, "Retry"),
        ("snooze", State.SCHEDULED, OutcomeKind.SNOOZED, 60.0, None),
        ("cancel", State.CANCELLED, OutcomeKind.CANCELLED, 0.0, None),
        ("permanent", State.FAILED, OutcomeKind.ERROR, 0.0, "Permanent"),
        ("rejected", State.FAILED, OutcomeKind.ERROR, 0.0, "ExternalError"),
        ("busy", State.RETRYING, OutcomeKind.ERROR, 90.0, "ExternalError"),
        ("error", State.RETRYING, OutcomeKind.ERROR, None, "KeyError"),
        ("exit", State.RETRYING, OutcomeKind.ERROR, None, "SystemExit"),
    ],
)
async def test_what_a_handler_raises_decides_what_becomes_of_its_job(
    rig: Rig, what: str, state: State, kind: OutcomeKind, wait_s: float | None, error: str | None
) -> None:
    outcome = await rig.run("raise", what=what)
    assert (outcome.state, outcome.kind) == (state, kind)
    assert (outcome.error.type if outcome.error else None) == error
    assert outcome.wait_s == wait_s if wait_s is not None else 2 <= outcome.wait_s < 3
    if error == "KeyError":
        assert outcome.error is not None
        assert "isolated.py" in (outcome.error.traceback or "")
        assert "taskflow/engine" not in (outcome.error.traceback or "")


async def test_one_failure_is_no_other_attempts_business(rig: Rig) -> None:
    claims = [rig.start("raise", what="error") if n % 2 else rig.start("echo", what=str(n)) for n in range(6)]
    outcomes = [await rig.outcome(claim) for claim in claims]
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.COMPLETED, OutcomeKind.ERROR] * 3


@pytest.mark.covers("S2-21", "X-7", "S2-45")
async def test_a_timeout_stops_the_handler_and_lets_it_clean_up(rig: Rig, tmp_path: Path) -> None:
    claim = rig.start("wait", path=tmp_path / "begun", timeout_s=0.05)
    outcome = await rig.outcome(claim)
    assert (outcome.kind, outcome.state, outcome.failures) == (OutcomeKind.TIMEOUT, State.RETRYING, 1)
    assert outcome.error is not None
    assert "0.05 s" in outcome.error.message
    assert rig.lines(claim) == [("info", "cleaned up")]
    assert (await rig.run("echo")).state is State.COMPLETED
    assert not rig.stuck


async def test_a_cancel_stops_the_handler_of_that_job_alone(rig: Rig, tmp_path: Path) -> None:
    claims = [rig.start("wait", path=tmp_path / name) for name in ("first", "second")]
    for name in ("first", "second"):
        await begun(tmp_path / name)
    rig.executor.cancel(claims[0].job_id)
    outcome = await rig.outcome(claims[0])
    assert (outcome.kind, outcome.state) == (OutcomeKind.CANCELLED, State.CANCELLED)
    assert len(rig.executor) == 1
    rig.executor.hand_back_all()
    handed = await rig.outcome(claims[1])
    assert (handed.kind, handed.state, handed.failures) == (OutcomeKind.HANDED_BACK, State.PENDING, 0)
    assert handed.duration_s is not None
    assert not rig.stuck


async def test_an_attempt_that_is_stopped_before_it_begins_never_calls_its_handler(rig: Rig, tmp_path: Path) -> None:
    claim = rig.start("wait", path=tmp_path / "begun")
    rig.executor.cancel(claim.job_id)
    assert (await rig.outcome(claim)).state is State.CANCELLED
    assert not (tmp_path / "begun").exists()


async def test_a_handler_that_is_told_to_end_and_returns_has_completed(rig: Rig, tmp_path: Path) -> None:
    claim = rig.start("swallow", path=tmp_path / "begun")
    await begun(tmp_path / "begun")
    rig.executor.cancel(claim.job_id)
    outcome = await rig.outcome(claim)
    assert (outcome.state, outcome.result) == (State.COMPLETED, '"cancelled=True"')


@pytest.mark.covers("S2-21", "S2-45", "X-7", "X-8")
async def test_a_handler_that_ignores_being_stopped_is_killed_or_costs_its_process(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig.executor, "_cancel_grace_s", SHORT_GRACE_S)
    path = tmp_path / "begun"
    claim = rig.start("stubborn", path=path, timeout_s=0.05)
    await begun(path)
    [busy] = rig.executor.child_pids.get("busy", [0])
    if busy:
        outcome = await rig.outcome(claim)
        assert (outcome.kind, outcome.suspect, rig.stuck) == (OutcomeKind.TIMEOUT, False, [])
        await eventually("its end: its channel closes before it is gone", lambda: not is_alive(busy))
    else:
        await eventually("the executor to say so", lambda: rig.stuck)
        assert rig.stuck == [claim]
        path.unlink()
        assert (await rig.outcome(claim)).claim == claim
        rig.stuck.clear()


# Processes -----------------------------------------------------------------------------------------------------------


async def test_a_child_runs_one_attempt_at_a_time_and_is_used_again(process: Rig) -> None:
    first = json.loads((await process.run("who")).result or "")
    assert first["pid"] != os.getpid()
    assert first["main"]
    again = [json.loads((await process.run("who")).result or "")["pid"] for _ in range(3)]
    assert set(again) <= set(process.executor.child_pids["idle"])
    pids = {json.loads((await process.outcome(claim)).result or "")["pid"] for claim in map(process.start, ["who"] * 8)}
    assert os.getpid() not in pids
    await eventually("the surplus to go", lambda: len(process.executor.child_pids["idle"]) <= module.MAX_IDLE)


async def test_a_child_opens_the_lifespan_of_its_own(process: Rig) -> None:
    who = json.loads((await process.run("who")).result or "")
    assert json.loads((await process.run("state")).result or "") == who["pid"]


@pytest.mark.covers("X-3")
@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("kill", {"what": "SIGKILL"}, "was killed by SIGKILL"),
        ("leave", {"size": 0}, "ended with exit code 0"),
    ],
    ids=["SIGKILL", "os._exit"],
)
async def test_a_crash_is_charged_as_a_crash_and_hurts_no_neighbour(
    process: Rig, kind: str, options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    neighbour = process.start("swallow", path=tmp_path / "begun")
    await begun(tmp_path / "begun")
    outcome = await process.run(kind, **options)
    assert (outcome.kind, outcome.state, outcome.failures) == (OutcomeKind.CRASHED, State.RETRYING, 0)
    assert (outcome.crashes, outcome.suspect) == (1, True)
    assert outcome.error is not None
    assert says in outcome.error.message
    assert 2 <= outcome.wait_s < 3
    process.executor.cancel(neighbour.job_id)
    assert (await process.outcome(neighbour)).result == '"cancelled=True"'


async def test_the_last_of_its_crashes_ends_a_job(process: Rig) -> None:
    outcome = await process.run("kill", what="SIGKILL", crashes=MAX_CRASHES - 1, failures=2, suspect=True)
    assert (outcome.kind, outcome.state, outcome.failures) == (OutcomeKind.CRASHED, State.FAILED, 2)
    assert outcome.failure_reason is FailureReason.CRASH_LIMIT


@pytest.mark.parametrize("way", ["process, sync", "process, async"])
@pytest.mark.parametrize("all_told", [True, False], ids=["with its worker", "and nobody else"])
async def test_a_child_that_is_told_to_end_is_a_crash_unless_its_worker_is_told_too(
    rigs: dict[str, Rig], way: str, tmp_path: Path, all_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service manager may signal all processes of a deployment. A job signals its own."""
    rig = rigs[way]
    monkeypatch.setattr(executor_module, "TOLD_WAIT_S", 10.0 if all_told else 0.05)
    claim = rig.start("wait", path=tmp_path / "begun", failures=1)
    await begun(tmp_path / "begun")
    [pid] = rig.executor.child_pids["busy"]
    os.kill(pid, signal.SIGTERM)
    if all_told:
        rig.stopping.set()
    outcome = await rig.outcome(claim)
    rig.stopping.clear()
    if all_told:
        assert (outcome.kind, outcome.failures, outcome.error) == (OutcomeKind.HANDED_BACK, 1, None)
    else:
        assert (outcome.kind, outcome.failures, outcome.crashes) == (OutcomeKind.CRASHED, 1, 1)
    again = await rig.run("who")
    assert json.loads(again.result or "")["pid"] != pid  # whoever told it may want it gone


async def test_a_child_that_is_told_to_end_as_it_starts_charges_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    isolator = module.ProcessIsolator(Notes(), command("sync"))
    spawn = isolator._spawn

    async def spawn_and_tell() -> Any:
        child = await spawn()
        child.signal(signal.SIGTERM)
        return child

    monkeypatch.setattr(isolator, "_spawn", spawn_and_tell)
    assert await isolator.call(call_of("who", isolator)) == Interrupted()
    await isolator.close()


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_a_child_that_is_told_to_end_when_it_is_nearly_ready_takes_no_job(mode: str, tmp_path: Path) -> None:
    isolator = module.ProcessIsolator(Notes(), command(mode, TOLD_TO_END=str(tmp_path / "told")))
    ending = await isolator.call(call_of("who", isolator))
    await isolator.close()
    assert isinstance(ending, Returned)
    assert json.loads(ending.result)["pid"] != int((tmp_path / "told").read_text())


@pytest.mark.covers("S2-21")
async def test_a_killed_attempt_takes_along_what_it_started(process: Rig, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    claim = process.start("breed", path=path)
    await eventually("the process to start", lambda: path.exists() and path.read_text(), within_s=20)
    os.kill(process.executor.child_pids["busy"][0], signal.SIGKILL)
    assert (await process.outcome(claim)).kind is OutcomeKind.CRASHED
    await eventually("it to be gone", lambda: not is_alive(int(path.read_text())))


async def test_memory_over_the_limit_is_an_error_of_the_attempt_and_costs_its_child(process: Rig) -> None:
    assert json.loads((await process.run("hog", size=MEMORY_MB // 4)).result or "") == MEMORY_MB // 4 * 1024 * 1024
    [idle, *_] = process.executor.child_pids["idle"][::-1]
    outcome = await process.run("hog", size=MEMORY_MB * 2)
    assert (outcome.kind, outcome.failures) == (OutcomeKind.ERROR, 1)
    assert outcome.error is not None
    assert outcome.error.type == "MemoryError"
    assert idle not in process.executor.child_pids["idle"]


async def test_cpu_time_over_the_limit_ends_the_attempt_as_a_timeout(process: Rig) -> None:
    """The limit counts what this attempt uses, not what the child has used for others before."""
    outcome = await process.run("spin", size=30)
    assert (outcome.kind, outcome.failures, outcome.crashes) == (OutcomeKind.TIMEOUT, 1, 0)
    assert outcome.error is not None
    assert (outcome.error.type, f"{CPU_S} s of CPU time" in outcome.error.message) == ("CpuLimit", True)


async def test_a_child_that_is_killed_while_idle_is_nobodys_crash(process: Rig) -> None:
    await process.run("who")
    for pid in process.executor.child_pids["idle"]:
        os.kill(pid, signal.SIGKILL)
    outcome = await process.run("who")
    assert (outcome.kind, outcome.crashes) == (OutcomeKind.COMPLETED, 0)


async def test_a_suspect_runs_in_a_child_process_wherever_its_handler_asks_to_run() -> None:
    notes, outcomes = Notes(), asyncio.Queue[Outcome]()
    executor = Executor(
        make_registry("asyncio", "async"),
        on_outcome=outcomes.put_nowait,
        on_end=lambda: None,
        on_stuck=lambda claim: None,
        sink=notes,
        state={},
        command=command("async"),
    )
    executor.start(make_claim("who"))
    plain = await asyncio.wait_for(outcomes.get(), 20)
    executor.start(make_claim("who", suspect=True))
    suspect = await asyncio.wait_for(outcomes.get(), 20)
    await executor.close()
    assert json.loads(plain.result or "")["pid"] == os.getpid()
    assert json.loads(suspect.result or "")["pid"] != os.getpid()
    assert not suspect.suspect  # it ended by itself: it is cleared


async def test_a_suspect_of_a_trusted_kind_runs_where_it_always_does() -> None:
    outcomes = asyncio.Queue[Outcome]()
    registry = Registry()

    @registry.job("whoami", payload=dict, trusted=True)
    async def whoami(ctx: JobContext, payload: dict[str, int]) -> int:
        return os.getpid()

    executor = Executor(
        registry,
        on_outcome=outcomes.put_nowait,
        on_end=lambda: None,
        on_stuck=lambda claim: None,
        sink=Notes(),
        state={},
        command=command("async"),
    )
    executor.start(make_claim("whoami", suspect=True))
    outcome = await asyncio.wait_for(outcomes.get(), 20)
    await executor.close()
    assert json.loads(outcome.result or "") == os.getpid()
    assert not outcome.suspect


async def test_a_child_makes_room_for_another_after_its_number_of_jobs() -> None:
    isolator = module.ProcessIsolator(Notes(), command("async"), max_jobs=2)
    pids = []
    for _ in range(3):
        ending = await isolator.call(call_of("who", isolator))
        pids.append(json.loads(ending.result)["pid"])  # type: ignore[union-attr]
    await isolator.close()
    assert pids[0] == pids[1] != pids[2]
    assert not any(is_alive(pid) for pid in pids)


async def test_a_spare_waits_for_the_first_call_and_another_takes_its_place_when_it_dies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.05)
    monkeypatch.setattr(module, "SURPLUS_S", 0.05)
    isolator = module.ProcessIsolator(Notes(), command("async"))

    async def spare() -> int:
        idle = lambda: isolator.pids["idle"] and not isolator.pids["other"]  # noqa: E731
        await eventually("a spare", idle, within_s=20)
        [pid] = isolator.pids["idle"]
        return pid

    isolator.keep_spare()
    first = await spare()
    ending = await isolator.call(call_of("who", isolator))
    assert json.loads(ending.result)["pid"] == first  # type: ignore[union-attr]
    await asyncio.sleep(0.2)  # four times as long as a child is kept that is no spare
    assert await spare() == first
    os.kill(first, signal.SIGKILL)
    await eventually("its end", lambda: first not in isolator.pids["idle"])
    second = await spare()
    await isolator.close()
    assert not is_alive(second)


async def test_a_spare_that_boots_when_its_worker_drains_is_ended_at_once() -> None:
    """A second signal may kill the worker a moment later, and a child that boots does not die with it yet."""
    isolator = module.ProcessIsolator(Notes(), command("async"))
    isolator.keep_spare()
    [pid] = await eventually("a child to boot", lambda: isolator.pids["other"])
    isolator.let_go()
    await eventually("its end", lambda: not is_alive(pid), within_s=2)
    await eventually("word of it", lambda: isolator.pids == {"busy": [], "idle": [], "other": []})
    await isolator.close()


async def test_spares_that_do_not_start_are_tried_ever_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPARE_WAIT_S", 0.1)
    isolator = module.ProcessIsolator(Notes(), ChildCommand(["/nowhere/to/be/found"]))
    began: list[float] = []
    spawn = isolator._spawn

    async def noted() -> Any:
        began.append(time.monotonic())
        return await spawn()

    monkeypatch.setattr(isolator, "_spawn", noted)
    isolator.keep_spare()
    await eventually("four tries", lambda: len(began) >= 4)
    await isolator.close()
    waits_s = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert [wait_s > 0.9 * least_s for wait_s, least_s in zip(waits_s, (0.1, 0.2, 0.4), strict=False)] == [True] * 3


async def test_a_child_that_does_not_start_is_an_error_of_the_attempt_and_says_why() -> None:
    outcomes = asyncio.Queue[Outcome]()
    for argv, says in ((["/bin/false"], "ended with exit code 1"), (["/nowhere/to/be/found"], "No such file")):
        executor = Executor(
            make_registry("process", "sync"),
            on_outcome=outcomes.put_nowait,
            on_end=lambda: None,
            on_stuck=lambda claim: None,
            sink=Notes(),
            state={},
            command=ChildCommand(argv),
        )
        executor.start(make_claim("who"))
        outcome = await asyncio.wait_for(outcomes.get(), 20)
        await executor.close()
        assert (outcome.kind, outcome.duration_s) == (OutcomeKind.ERROR, None)
        assert outcome.error is not None
        assert outcome.error.type == "ChildNotStarted"
        assert says in outcome.error.message


async def test_kinds_that_need_a_process_are_refused_where_none_can_be_had() -> None:
    with pytest.raises(ValueError, match=r"kinds .*echo, .* run in child processes"):
        Executor(
            make_registry("process", "sync"),
            on_outcome=lambda outcome: None,
            on_end=lambda: None,
            on_stuck=lambda claim: None,
            sink=Notes(),
            state={},
        )
