"""What the ends of processes have in common, whoever waits for them."""

import os
import select
import signal
from contextlib import suppress

EXIT_ORPHANED = 75  # EX_TEMPFAIL: of a child whose parent is gone; nobody is there to read it
_HANG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)


def wait_for_hang_up(fd: int) -> None:
    """Block until the other end of a socket is closed, by whatever its process came to. For a thread."""
    poll = select.poll()
    poll.register(fd, _HANG_UP)
    poll.poll()


def kill_group(leader: int) -> None:
    """Kill the session's processes: the leader, and whatever it started that is still there."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def end_in_words(code: int) -> str:
    """Say how a process ended; *code* as `subprocess` has it."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
