"""The synchronous standby dies: no commit ends, until somebody decides to go on without it."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.ha.conftest import Deployment, say
from tests.support.up import MAIL, wait_until

from taskflow.db.pool import COMMAND_TIMEOUT_S

SUBMITS = 8
ANSWERED_S = COMMAND_TIMEOUT_S + 15.0  # 10 s in memory at most, and this machine may be busy
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'taskflow api'"


@pytest.mark.covers("S2-2")
def test_without_its_synchronous_standby_nothing_is_answered_that_a_failover_could_lose(deployment: Deployment) -> None:
    cluster = deployment.cluster
    once = {"Idempotency-Key": "order-42"}

    def submit(headers: dict[str, str]) -> tuple[httpx.Response, float]:
        began = time.monotonic()
        with deployment.client(timeout_s=2 * ANSWERED_S) as client:
            return client.post("/jobs", json=MAIL, headers=headers), time.monotonic() - began

    cluster.b.kill()
    wait_until(lambda: cluster.a.ask("SELECT count(*) FROM pg_stat_replication") == 0)
    said = deployment.taskflow("doctor")
    assert said.returncode == 1
    assert "fail  standby" in said.stdout, said.stdout
    assert "without one every commit waits" in said.stdout

    with ThreadPoolExecutor(SUBMITS + 1) as threads:
        keyed = threads.submit(submit, once)
        answers = list(threads.map(submit, [{}] * SUBMITS))
        answers.append(keyed.result())
    say(f"while the standby was dead, submits were refused after {min(s for _, s in answers):.1f} to "
        f"{max(s for _, s in answers):.1f} s")  # fmt: skip
    for answer, after_s in answers:
        assert answer.status_code == 503, answer.text
        assert after_s < ANSWERED_S
    assert any("the submit may have happened" in answer.text for answer, _ in answers)  # that of the first
    assert "may or may not have happened" in keyed.result()[0].text
    # It is in this server by now, and nowhere else: that is no reason to answer it.
    assert cluster.a.ask("SELECT count(*) FROM taskflow.idempotency_key") == 1
    again, _ = submit(once)
    assert again.status_code == 503, again.text
    wait_until(lambda: cluster.a.ask(WAITING) == 0, 15)  # sessions that nobody waits for do not gather

    cluster.a.set("synchronous_standby_names", "")
    decided_s = time.monotonic()
    wait_until(lambda: submit({})[0].status_code == 201, 15)
    say(f"writes were back {time.monotonic() - decided_s:.1f} s after synchronous_standby_names was emptied")
    replayed, _ = submit(once)
    assert (replayed.status_code, replayed.headers["Idempotency-Replayed"]) == (201, "true")
    wait_until(lambda: deployment.ends([replayed.json()["jobId"]]) != {}, 60)
    wait_until(deployment.is_ready)

    cluster.b.start()
    cluster.make_synchronous(cluster.a, cluster.b)
    assert submit({})[0].status_code == 201
    assert "1 synchronous" in deployment.taskflow("doctor").stdout
