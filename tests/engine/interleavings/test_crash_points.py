"""
Every operation that writes is cut off at each of its failpoints: PostgreSQL ends its session there.

What it leaves is what was committed and nothing of the rest, and every promise holds at that moment. Then it is asked
again, by a caller that does not know whether it had happened, or never again, by one that died; either way everything
ends, each job once.
"""

import itertools

import pytest
from tests.engine.interleavings.crashes import CRASHED, Crashed
from tests.engine.interleavings.failpoints import AFTER_COMMIT
from tests.engine.interleavings.ground import Ground
from tests.engine.interleavings.play import cut_off, places_of

from taskflow.engine import completer
from taskflow.engine.store import jobs as job_statements

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker waits for nothing before it sends again, and four jobs are worth a COPY."""
    monkeypatch.setattr(completer, "reconnect_waits_s", lambda **_: itertools.repeat(0.0))
    monkeypatch.setattr(job_statements, "MIN_ROWS", 4)


@pytest.mark.parametrize("crashed", CRASHED, ids=[crashed.name for crashed in CRASHED])
async def test_cut_off_anywhere_it_has_happened_or_not_and_everything_ends(
    ground: Ground, crashed: Crashed, request: pytest.FixtureRequest
) -> None:
    whole, done, found = await cut_off(ground, crashed, None, again=False)
    assert not found
    every = request.config.getoption("--every-crash")
    for number in places_of(whole.passed, every=every):
        place = f"{number} ({whole.passed[number]})"
        for again in (True, False):
            if not (again or every or whole.passed[number] == AFTER_COMMIT):
                continue  # nothing is there that was not there at the place before, and nobody asks again
            crash, state, found = await cut_off(ground, crashed, number, again=again)
            case = f"{crashed.name}, cut off at {place}, {'asked again' if again else 'never asked again'}"
            assert crash.left.summary == whole.seen[crash.commits].summary, f"{case}: half of it is there"
            assert not found, f"{case}: {found}"
            if again and not crashed.adds:
                assert state.summary == done.summary, f"{case}: it came to something else"
