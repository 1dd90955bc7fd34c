"""The primary is killed under load and the synchronous standby promoted; then the pair is made whole again."""

import time

import pytest
from tests.ha.conftest import LISTENERS, LISTENING, Deployment, say
from tests.support.cluster import timed
from tests.support.load import Load
from tests.support.up import wait_until

BACK_S = 15.0  # writes, from the promotion on
SETTLE_S = 90.0  # what a failover interrupts comes back within half a minute; this machine may be busy
FRESH = "SELECT count(*) FROM taskflow.worker WHERE heartbeat_at > now() - interval '10 seconds'"
LED = "SELECT count(*) FROM taskflow.leader WHERE expires_at > now()"
OPEN = "SELECT " + " + ".join(f"(SELECT count(*) FROM taskflow.{table})" for table in ("ready", "deferred", "lease"))


@pytest.mark.covers("S2-2", "S4-1")
def test_a_failover_loses_no_answered_submit_and_leaves_nothing_stuck(deployment: Deployment) -> None:
    cluster = deployment.cluster
    assert "1 synchronous" in deployment.taskflow("doctor").stdout

    with Load(deployment.url, deployment.key) as load:
        time.sleep(3)
        before = set(load.answered)
        cluster.a.kill()
        time.sleep(2)  # somebody has to notice
        killed = set(load.answered)
        cluster.b.ask("SELECT pg_promote()")
        promoted_s = time.monotonic()
        wait_until(lambda: load.last_answered_s > promoted_s, BACK_S)
        back_s = load.last_answered_s - promoted_s
        time.sleep(3)
    say(f"writes were back {back_s:.1f} s after the promotion; {len(load.answered)} submits were answered,")
    say(f"{len(killed)} of them before it, {load.unanswered} were not, {sum(load.refused.values())} were refused")
    assert len(before) > 20
    assert {line.split()[0] for line in load.refused} <= {"503"}, load.refused

    settled_s = timed(lambda: len(deployment.ends(list(load.answered))) == len(load.answered), SETTLE_S)
    say(f"all had ended {settled_s:.1f} s after the last submit")
    for job_id, states in deployment.ends(list(load.answered)).items():
        assert states == ["failed" if load.answered[job_id] else "completed"], job_id
    wait_until(lambda: cluster.b.ask(OPEN) == 0, SETTLE_S)
    wait_until(lambda: cluster.b.ask(LED) == 1, 20)
    wait_until(lambda: cluster.b.ask(FRESH) == 2, 20)
    wait_until(lambda: cluster.b.ask(LISTENING) == LISTENERS, 20)
    wait_until(deployment.is_ready, 20)
    assert "there is none, so there is no failover" in deployment.taskflow("doctor").stdout

    # The old primary comes back as the standby of the new one, and the pair can fail over again, the other way.
    cluster.a.rewind_to(cluster.b)
    cluster.a.start()
    wait_until(lambda: cluster.b.ask("SELECT count(*) FROM pg_stat_replication") == 1)
    said = deployment.taskflow("doctor").stdout
    assert "warn  standby" in said, said
    assert "none of them synchronous" in said
    cluster.make_synchronous(cluster.b, cluster.a)
    assert "1 synchronous" in deployment.taskflow("doctor").stdout
    with Load(deployment.url, deployment.key) as again:
        time.sleep(1)
        cluster.b.kill()
        cluster.a.ask("ALTER SYSTEM RESET synchronous_standby_names")
        cluster.a.ask("SELECT pg_reload_conf()")
        cluster.a.ask("SELECT pg_promote()")
        promoted_s = time.monotonic()
        wait_until(lambda: again.last_answered_s > promoted_s, BACK_S)
    wait_until(lambda: len(deployment.ends(list(again.answered))) == len(again.answered), SETTLE_S)
    assert len(deployment.ends(list(load.answered))) == len(load.answered)
