"""Who was running, told by memory that outlives the process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.engine.test_executor import make_claim

from taskflow.engine.board import SPARE_LINES, Board
from taskflow.engine.job import MAX_NAME_LENGTH

SOURCE = Path(__file__).parents[2] / "src"

WRITER = """
import os, signal, sys, uuid
from taskflow.engine.board import Board
from taskflow.engine.job import Claim
board = Board.open(int(sys.argv[1]))
def claim(number):
    return Claim(lease_id=uuid.UUID(int=9), lease_size=1, position=0, job_id=uuid.UUID(int=number), attempt=1,
        failures=0, namespace=uuid.UUID(int=0), kind="k", queue="q", priority=5, payload="{}", retries=0,
        timeout_s=1.0, headers={}, queue_wait_s=0.0)
lines = [board.enter(claim(number)) for number in range(3)]
board.leave(lines[1])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_attempt_is_on_the_board_from_its_beginning_to_its_end() -> None:
    with Board.create(2) as board:
        claims = [make_claim("mail", timeout_s=5.0), make_claim("k" * MAX_NAME_LENGTH)]
        lines = [board.enter(claim) for claim in claims]
        found = {begun.job_id: begun for begun in board.begun()}
        assert {claim.job_id: (claim.lease_id, claim.kind) for claim in claims} == {
            job_id: (begun.lease_id, begun.kind) for job_id, begun in found.items()
        }
        mail = found[claims[0].job_id]
        assert mail.deadline_s - mail.began_s == pytest.approx(5.0)
        assert mail.began_s <= time.monotonic()
        assert lines[0] is not None
        board.leave(lines[0])
        assert [begun.job_id for begun in board.begun()] == [claims[1].job_id]


def test_a_board_says_who_ran_alone_and_who_was_suspect_before() -> None:
    with Board.create(2) as board:
        board.enter(make_claim("mail"))
        board.enter(make_claim("thumbnail", suspect=True), alone=True)
        assert {begun.kind: (begun.alone, begun.suspect) for begun in board.begun()} == {
            "mail": (False, False),
            "thumbnail": (True, True),
        }


def test_a_full_board_takes_no_more_and_loses_nobody() -> None:
    with Board.create(0) as board:
        lines = [board.enter(make_claim("mail")) for _ in range(SPARE_LINES + 1)]
        assert (lines[-1], len(board.begun())) == (None, SPARE_LINES)
        assert lines[0] is not None
        board.leave(lines[0])
        assert board.enter(make_claim("mail")) == lines[0]


@pytest.mark.slow
def test_what_a_killed_process_had_begun_is_still_there_to_read() -> None:
    with Board.create(4) as board:
        done = subprocess.run(
            [sys.executable, "-c", WRITER, str(board.fd)],
            pass_fds=[board.fd],
            env={"PYTHONPATH": str(SOURCE), "PATH": os.defpath},
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
        assert sorted(begun.job_id.int for begun in board.begun()) == [0, 2]
