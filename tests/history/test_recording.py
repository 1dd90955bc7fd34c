"""The recorder loses nothing to kill -9, and the database tells of every claim, hand-back and end."""

import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from taskflow.db.query import Connection
from taskflow.engine import policy
from taskflow.engine.job import NewJob, OutcomeKind
from taskflow.engine.store import Store
from tests.history.checker import check
from tests.history.database import count_unended, install, read_events, read_final
from tests.history.events import Began, Claimed, Finished, History, Released, Stored
from tests.history.recorder import Recorder, now, read
from tests.support.workers import claim, register

ROOT = Path(__file__).parents[2]

DYING = """
import os, signal, sys
from pathlib import Path
from tests.history.events import Began
from tests.history.recorder import Recorder, now

recorder = Recorder(Path(sys.argv[1]), "dying")
for number in range(100):
    recorder.record(Began(at=now(), job_id=str(number), attempt=1, lease_id="l"))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_what_a_process_recorded_before_it_was_killed_is_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DYING, str(tmp_path)], env={"PYTHONPATH": str(ROOT)}, check=False, timeout=30
    )
    assert done.returncode == -signal.SIGKILL
    events = read(tmp_path)
    assert [event.job_id for event in events if isinstance(event, Began)] == [str(number) for number in range(100)]


def test_a_line_that_was_cut_off_is_no_event_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "cut")
    recorder.record(Began(at=now(), job_id="j", attempt=1, lease_id="l"))
    recorder.close()
    whole = recorder.path.read_bytes()
    recorder.path.write_bytes(whole + whole[:20])
    [event] = read(tmp_path)
    assert event.source == f"{recorder.path.name}:1"
    recorder.path.write_bytes(whole[:20] + b"\n" + whole)
    with pytest.raises(ValueError, match=f"{recorder.path.name}:1 is no event"):
        read(tmp_path)


async def test_the_database_tells_of_every_claim_and_end(connection: Connection, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as witness:
        install(witness)
        store = Store()
        worker_id = await register(connection, store=store)
        jobs = [NewJob("note", {"op": str(number)}, unique_key="k" if number == 0 else None) for number in range(3)]
        stored = [(await store.enqueue(connection, [job]))[0].id for job in jobs]
        claims = await claim(connection, worker_id, kinds=["note"], store=store)
        first = claims[0]
        await store.complete(connection, [policy.succeeded(first, {"lease": str(first.lease_id)}, 0.1)])
        await store.finish(connection, [policy.handed_back(claims[1], 0.1)])
        await store.return_leases(connection, [first.lease_id], OutcomeKind.LOST, suspects=None)

        events = read_events(witness)
        ids, claimed = [str(job_id) for job_id in stored], [str(one.job_id) for one in claims]
        kept = [(event.job_id, event.op, event.unique_key) for event in events if isinstance(event, Stored)]
        assert kept == [(ids[0], "0", "k"), (ids[1], "1", None), (ids[2], "2", None)]
        assert [event.job_id for event in events if isinstance(event, Claimed)] == claimed
        released = [event for event in events if isinstance(event, Released)]
        assert [event.job_id for event in released] == claimed
        [end] = [event for event in events if isinstance(event, Finished)]
        assert (end.job_id, end.attempt, end.state) == (claimed[0], 1, "completed")
        assert end.lease_id == str(first.lease_id)
        assert end.tx == released[0].tx
        assert len({event.tx for event in released}) == 3

        final = read_final(witness)
        assert sorted(map(list, final.places.values())) == [["completed"], ["ready"], ["ready"]]
        assert count_unended(witness) == 2
        found = check(History(events, final))
        assert [violation.rule for violation in found] == ["end", "end"], "two of the three have not ended"
