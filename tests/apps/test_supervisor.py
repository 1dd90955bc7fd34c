"""The supervisor over real processes: restarts, reports, order, and that nothing is left behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from taskflow.apps.supervisor import ChildSpec, Supervisor, until_ready
from taskflow.kernel.errors import SetupError

pytestmark = [pytest.mark.slow, pytest.mark.system]

SOURCE = Path(__file__).parents[2] / "src"


def python(program: str, *arguments: str) -> Callable[[int, int], "subprocess.Popen[bytes]"]:
    """Return a spawn that runs *program*; the control channel's number is its first argument."""

    def spawn(_incarnation: int, control: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-c", program, str(control), *arguments],
            pass_fds=[control] if control >= 0 else [],
            env={"PYTHONPATH": str(SOURCE), "PATH": os.defpath},
            start_new_session=True,
        )

    return spawn


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        await asyncio.sleep(0.01)


SLEEPER = "import time; time.sleep(60)"
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(int(sys.argv[1]), b"a")
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "60"])
os.write(int(sys.argv[1]), b"a")
print(child.pid, file=open(sys.argv[2], "w"), flush=True)
time.sleep(60)
"""
PROVER = """
import asyncio, sys
from taskflow.apps.control import ControlChannel
async def main():
    end = asyncio.Event()
    await asyncio.wait([
        asyncio.ensure_future(ControlChannel(int(sys.argv[1]), on_orphaned=end.set, grace_s=5).run()),
        asyncio.ensure_future(end.wait()),
    ], return_when=asyncio.FIRST_COMPLETED)
asyncio.run(main())
"""
STARTER = """
import asyncio, sys
from taskflow.apps.control import ControlChannel
async def main():
    end = asyncio.Event()
    ready = lambda: control.mark_ready()
    control = ControlChannel(int(sys.argv[1]), on_heartbeat=ready, on_orphaned=end.set, grace_s=5)
    await asyncio.wait({asyncio.ensure_future(control.run()), asyncio.ensure_future(end.wait())},
                       return_when=asyncio.FIRST_COMPLETED)
asyncio.run(main())
"""

BLOCKED = """
import asyncio, sys, time
from taskflow.apps.control import ControlChannel
async def main():
    proving = asyncio.ensure_future(ControlChannel(int(sys.argv[1]), on_orphaned=lambda: None, grace_s=0.2).run())
    await asyncio.sleep(0.1)
    time.sleep(60)
asyncio.run(main())
"""


async def test_a_child_that_was_killed_is_reported_and_started_again() -> None:
    lines: list[str] = []
    async with Supervisor(lines.append) as supervisor:
        child = supervisor.start(ChildSpec("sleeper", python(SLEEPER), controlled=False))
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: child.pid not in {None, first})
        last = child.pid
    assert lines == ["sleeper was killed by SIGKILL; starting it again in 0.1 s"]
    assert last is not None
    assert not is_alive(last)


async def test_a_child_that_keeps_ending_is_started_ever_more_slowly() -> None:
    lines: list[str] = []
    async with Supervisor(lines.append) as supervisor:
        child = supervisor.start(ChildSpec("flop", python("raise SystemExit(3)"), controlled=False))
        await until(lambda: child.crashes == 4)
    waits = ("0.1", "0.2", "0.4", "0.8")
    assert lines[:4] == [f"flop ended with exit code 3; starting it again in {wait} s" for wait in waits]


async def test_each_incarnation_has_a_number_of_its_own_and_its_end_is_passed_on() -> None:
    ended: list[int] = []

    async def note(incarnation: int) -> None:
        ended.append(incarnation)

    async with Supervisor(lambda line: None) as supervisor:
        children = [
            supervisor.start(ChildSpec(name, python(SLEEPER), controlled=False, after_exit=note)) for name in "ab"
        ]
        assert [child.incarnation for child in children] == [1, 2]
        assert children[0].pid is not None
        os.kill(children[0].pid, signal.SIGKILL)
        await until(lambda: children[0].incarnation == 3)
    assert ended == [1], "a stop is not a crash"


async def test_a_child_that_ignores_sigterm_is_killed_after_its_patience() -> None:
    signals = ((signal.SIGTERM, 0.3), (signal.SIGKILL, 10.0))
    async with Supervisor(lambda line: None) as supervisor:
        child = supervisor.start(ChildSpec("deaf", python(STUBBORN), signals=signals))
        pid = child.pid
        assert pid is not None
        await child.alive.wait()
        await supervisor.stop([child])
        assert not is_alive(pid)


async def test_hurry_cuts_every_patience_short() -> None:
    signals = ((signal.SIGTERM, 60.0), (signal.SIGKILL, 60.0))
    began = time.monotonic()
    async with Supervisor(lambda line: None) as supervisor:
        child = supervisor.start(ChildSpec("deaf", python(STUBBORN), signals=signals))
        await child.alive.wait()
        stopping = asyncio.create_task(supervisor.stop([child]))
        await asyncio.sleep(0)
        supervisor.hurry.set()
        await stopping
    assert time.monotonic() - began < 20


async def test_a_child_proves_life_and_ends_by_itself_when_the_channel_does() -> None:
    async with Supervisor(lambda line: None) as supervisor:
        child = supervisor.start(ChildSpec("prover", python(PROVER)))
        await asyncio.wait_for(child.alive.wait(), 20)
        child.send_heartbeat()
        child._close_control()  # as the end of the supervisor does
        await until(lambda: child.crashes == 1)
        assert child.last_end == "ended with exit code 0"


async def test_a_start_waits_until_a_child_is_ready_and_not_only_alive() -> None:
    async with Supervisor(lambda line: None) as supervisor:
        child = supervisor.start(ChildSpec("starter", python(STARTER)))
        waiting = asyncio.create_task(until_ready(child))
        await asyncio.wait_for(child.alive.wait(), 20)
        assert not waiting.done()
        child.send_heartbeat()  # on which this one becomes ready
        await asyncio.wait_for(waiting, 20)


async def test_a_child_that_no_longer_answers_is_killed_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskflow.apps.supervisor.SILENCE_S", 1.5)
    monkeypatch.setattr("taskflow.apps.supervisor.CHECK_S", 0.1)
    lines: list[str] = []
    async with Supervisor(lines.append) as supervisor:
        child = supervisor.start(ChildSpec("blocked", python(BLOCKED)))
        await until(lambda: child.crashes == 1)
    assert any("blocked has not answered for" in line for line in lines), lines


def test_children_end_when_the_supervisor_is_killed_even_with_a_blocked_loop() -> None:
    program = f"""
import asyncio, subprocess, sys
from taskflow.apps.supervisor import ChildSpec, Supervisor
def spawner(program):
    return lambda n, control: subprocess.Popen(
        [sys.executable, "-c", program, str(control)], pass_fds=[control], start_new_session=True)
async def main():
    async with Supervisor(print) as supervisor:
        children = [supervisor.start(ChildSpec("c", spawner(p))) for p in ({PROVER!r}, {BLOCKED!r})]
        await asyncio.gather(*(child.alive.wait() for child in children))
        print(*(child.pid for child in children), flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(SOURCE), "PATH": os.defpath},
        stdout=subprocess.PIPE,
        text=True,
    ) as supervisor:
        assert supervisor.stdout is not None
        pids = [int(word) for word in supervisor.stdout.readline().split()]
        assert len(pids) == 2
        supervisor.kill()
    deadline = time.monotonic() + 20
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, "an orphan is left"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    """Orphans are not our children: nobody we know reaps them, so a zombie counts as gone."""
    if not is_alive(pid):
        return False
    status = Path(f"/proc/{pid}/stat")
    try:
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:  # it ended between opening and reading
        return False


async def test_what_a_child_started_itself_does_not_outlive_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    async with Supervisor(lambda line: None) as supervisor:
        supervisor.start(ChildSpec("parent", python(PARENT, str(note))))
        await until(lambda: note.is_file() and note.read_text().endswith("\n"))
        grandchild = int(note.read_text())
        assert _runs(grandchild)
    await until(lambda: not _runs(grandchild))


async def test_one_error_of_the_body_is_that_error_and_ends_the_children() -> None:
    pids: list[int | None] = []

    async def run() -> None:
        async with Supervisor(lambda line: None) as supervisor:
            pids.append(supervisor.start(ChildSpec("sleeper", python(SLEEPER), controlled=False)).pid)
            raise SetupError("no")

    with pytest.raises(SetupError, match=r"^no$"):
        await run()
    assert pids[0] is not None
    assert not is_alive(pids[0])


async def test_a_process_run_once_gives_its_exit_code() -> None:
    async with Supervisor(lambda line: None) as supervisor:
        spawn = python("raise SystemExit(4)")
        assert await supervisor.run_once(lambda: spawn(0, -1), "once") == 4
