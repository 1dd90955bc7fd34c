"""`taskflow doctor` on databases that are well and ill, and each check in its failing state."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import psycopg
import pytest
from tests.support.operator import Operator
from tests.support.schema import saying

from taskflow.apps.cli import checks, checkup
from taskflow.apps.cli.checks import Disk, EngineFacts, Facts, Finding, Level
from taskflow.apps.cli.session import Place
from taskflow.db.embedded import EmbeddedPostgres
from taskflow.db.migrate import HEAD
from taskflow.db.query import Connection
from taskflow.db.vitals import Vitals, read_vitals
from taskflow.engine.job import DELIVERY_KIND, DELIVERY_QUEUE, Claim, WorkerId
from taskflow.engine.leader import NAME

CHECKS = [
    "database", "version", "schema", "clock", "durability", "standby", "transactions", "connections", "disk",
    "workers", "kinds", "queues", "leader", "partitions", "retention", "dead rows", "dead letters", "callbacks",
    "secret key", "mail",
]  # fmt: skip


@pytest.fixture
def operator(database_url: str) -> Operator:
    operator = Operator(database_url)
    operator.publish()
    return operator


@pytest.fixture
def safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the tests' server for one that flushes: it is fast because it does not."""

    async def read(connection: Connection) -> Vitals:
        return replace(await read_vitals(connection), fsync=True, full_page_writes=True, synchronous_commit="on")

    monkeypatch.setattr(checkup, "read_vitals", read)


def read_facts(url: str) -> Facts:
    """Read everything, as the command does."""
    return asyncio.run(checkup.read_facts(Place(url, development=True)))


def lead(operator: Operator, holder: WorkerId) -> None:
    operator.do(lambda connection: operator.store.lead(connection, NAME, holder, term_s=60))


def finding(facts: Facts, check: str) -> Finding:
    return next(one for one in checks.check_all(facts) if one.check == check)


def engine_of(facts: Facts) -> EngineFacts:
    assert facts.engine is not None
    return facts.engine


# The command ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("safe")
def test_a_deployment_that_is_well_passes_every_check(operator: Operator, tmp_path: Path) -> None:
    lead(operator, operator.register_worker(kinds=["order"]))
    secret = tmp_path / "secret.key"
    secret.touch(mode=0o600)
    said = operator.taskflow("doctor", TASKFLOW_DATA_DIR=str(tmp_path))
    assert (said.code, said.err) == (0, ""), said.out
    lines = said.out.splitlines()
    assert [re.split(r"  +", line)[1] for line in lines[:-2]] == CHECKS
    assert {line[:4] for line in lines[:-2]} == {"ok  "}, said.out
    assert lines[-1] == f"{len(CHECKS)} ok"


def test_what_fails_is_told_with_what_to_do_and_ends_with_1(operator: Operator, tmp_path: Path) -> None:
    said = operator.taskflow("doctor", TASKFLOW_DATA_DIR=str(tmp_path))
    assert (said.code, said.err) == (1, "")
    assert re.search(r"^fail  durability +fsync and full_page_writes are off$", said.out, re.MULTILINE)
    assert re.search(r"^ +set fsync = on and full_page_writes = on: a crash can destroy", said.out, re.MULTILINE)
    assert re.search(r"^fail  workers +none is alive", said.out, re.MULTILINE)
    assert re.search(r"^warn  secret key +TASKFLOW_SECRET_KEY is not set here", said.out, re.MULTILINE)
    assert said.out.splitlines()[-1] == "16 ok, 1 warning, 3 failures"


def test_json_has_every_check(operator: Operator) -> None:
    said = operator.taskflow("doctor", "--json", TASKFLOW_SECRET_KEY="x" * 32)
    document = said.json
    assert (said.code, document["ok"]) == (1, False)
    assert [check["check"] for check in document["checks"]] == CHECKS
    levels = {check["check"]: check["level"] for check in document["checks"]}
    assert (levels["durability"], levels["schema"], levels["secret key"]) == ("fail", "ok", "ok")
    assert {check["advice"] for check in document["checks"] if check["level"] == "ok"} == {None}


def test_a_database_that_is_away_fails_and_the_rest_is_still_checked(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskflow.apps.cli.session.PATIENCE_S", 0.0)
    said = operator.taskflow("doctor", "--json", "--database-url", "postgresql://u:hush@127.0.0.1:1/x")
    assert said.code == 1
    assert said.json["checks"][0]["level"] == "fail"
    assert [check["check"] for check in said.json["checks"]] == ["database", "secret key", "mail"]
    assert "hush" not in said.out + said.err


def test_no_database_at_all_says_what_to_do(operator: Operator, tmp_path: Path) -> None:
    said = operator.taskflow("doctor", TASKFLOW_DATABASE_URL=None, TASKFLOW_DATA_DIR=str(tmp_path))
    assert said.code == 1
    assert re.search(r"^fail  database +no database: start `taskflow up`", said.out, re.MULTILINE)


def test_asking_wrongly_is_said_as_everywhere(operator: Operator, tmp_path: Path) -> None:
    said = operator.taskflow("doctor", "--data-dir", str(tmp_path), "--database-url", operator.url)
    assert (said.code, said.err) == (2, "taskflow: give --data-dir or --database-url, not both\n")


# The server ----------------------------------------------------------------------------------------------------------


def test_an_old_server_fails(database_url: str) -> None:
    facts = read_facts(database_url)
    assert finding(facts, "version").level == "ok"
    old = replace(facts, vitals=replace(facts.vitals, version_num=140011, version="14.11 (Debian)"))
    assert (finding(old, "version").level, finding(old, "version").found) == ("fail", "PostgreSQL 14.11")


@pytest.mark.parametrize(
    ("change", "found", "advice"),
    [
        ("DROP SCHEMA taskflow CASCADE", "the database has no TaskFlow schema", "run `taskflow migrate`"),
        (
            "UPDATE taskflow.alembic_version SET version_num = '0000'",
            f"revision 0000, this TaskFlow needs {HEAD}",
            "run `taskflow migrate`",
        ),
        (
            saying("9999", "9999"),
            f"revision 9999, this TaskFlow knows {HEAD} at most",
            "use the version that migrated it, or a newer one",
        ),
    ],
)
def test_a_schema_that_does_not_fit_fails_and_the_engine_is_not_asked(
    database_url: str, change: str, found: str, advice: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(change)
    facts = read_facts(database_url)
    assert finding(facts, "schema") == Finding("schema", "fail", found, advice)
    assert facts.engine is None
    assert [one.check for one in checks.check_all(facts)] == CHECKS[:9]


def test_a_newer_schema_that_fits_is_fine_and_the_engine_is_asked(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(saying("9999", HEAD).encode())
    facts = read_facts(database_url)
    found = f"revision 9999, newer than this TaskFlow's {HEAD}, which works on it"
    assert finding(facts, "schema") == Finding("schema", "ok", found)
    assert facts.engine is not None


def test_clocks_that_differ_are_a_warning(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding(read_facts(database_url), "clock").level == "ok"

    class Slow(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Slow":
            return cls.fromtimestamp(datetime.now(UTC).timestamp() - 60, UTC)

    monkeypatch.setattr(checkup, "datetime", Slow)
    skewed = finding(read_facts(database_url), "clock")
    assert skewed.level == "warn"
    assert re.match(r"the database is (59|60)s ahead of this machine \(± \d+ms\)", skewed.found)
    facts = replace(read_facts(database_url), skew_s=-30.0, skew_margin_s=29.0)
    assert finding(facts, "clock").level == "ok", "so slow a network says nothing about clocks"


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, "ok"),
        ({"fsync": False}, "fail"),
        ({"full_page_writes": False}, "fail"),
        ({"synchronous_commit": "off"}, "fail"),
        ({"synchronous_commit": "remote_apply"}, "ok"),
    ],
)
def test_commits_that_a_crash_can_lose_fail(database_url: str, changes: dict[str, object], level: Level) -> None:
    """The tests' own server has all three off: read as it is, it fails."""
    facts = read_facts(database_url)
    assert (facts.vitals.fsync, facts.vitals.full_page_writes, facts.vitals.synchronous_commit) == (False, False, "off")
    assert finding(facts, "durability").level == "fail"
    healthy = replace(facts.vitals, fsync=True, full_page_writes=True, synchronous_commit="on")
    judged = finding(replace(facts, vitals=replace(healthy, **changes)), "durability")  # type: ignore[arg-type]
    assert judged.level == level, judged


@pytest.fixture
def standby(postgres: EmbeddedPostgres) -> Iterator[None]:
    """Somebody who streams from the server: half of a standby, which is all that the server sees of one."""
    connection = psycopg.pq.PGconn.connect(f"{postgres.url}?replication=true".encode())
    try:
        position = bytes(connection.exec_(b"IDENTIFY_SYSTEM").get_value(0, 2) or b"")
        started = connection.exec_(b"START_REPLICATION " + position)
        assert started.status == psycopg.pq.ExecStatus.COPY_BOTH, connection.error_message
        yield
    finally:
        connection.finish()


@pytest.mark.usefixtures("standby")
def test_a_standby_that_is_not_synchronous_is_a_warning(database_url: str) -> None:
    facts = read_facts(database_url)
    facts = replace(facts, vitals=replace(facts.vitals, synchronous_commit="on"))
    found = finding(facts, "standby")
    assert (found.level, found.found) == ("warn", "1 standby, none of them synchronous")
    assert "synchronous_standby_names" in found.advice
    synchronous = replace(facts.vitals, synchronous_standbys=1, synchronous_standby_names="*")
    assert finding(replace(facts, vitals=synchronous), "standby").level == "ok"
    local = replace(synchronous, synchronous_commit="local")
    assert finding(replace(facts, vitals=local), "standby").level == "warn"


def test_without_a_standby_nothing_waits_for_one(database_url: str) -> None:
    facts = read_facts(database_url)
    facts = replace(facts, vitals=replace(facts.vitals, standbys=0))
    assert finding(facts, "standby").level == "ok"
    waiting = replace(facts.vitals, standbys=0, synchronous_standby_names="b", synchronous_commit="on")
    assert finding(replace(facts, vitals=waiting), "standby").level == "fail"


def test_a_transaction_that_stays_open_is_named(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "TRANSACTION_WARN_S", 0.0)
    with psycopg.connect(f"{database_url}?application_name=report") as holder:
        pid = holder.info.backend_pid
        holder.execute("SELECT 1 FROM taskflow.job LIMIT 1")
        facts = read_facts(database_url)
    found = finding(facts, "transactions")
    assert (found.level, f"(pid {pid}, report)" in found.found) == ("warn", True), found
    monkeypatch.setattr(checks, "TRANSACTION_FAIL_S", 0.0)
    assert finding(facts, "transactions").level == "fail"
    prepared = replace(facts.vitals, oldest_prepared_s=9000.0)
    assert "prepared transaction is 2h old" in finding(replace(facts, vitals=prepared), "transactions").found


def test_a_slot_that_nobody_uses_is_a_warning(postgres: EmbeddedPostgres, database_url: str) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute("SELECT pg_create_physical_replication_slot('forgotten')")
        try:
            found = finding(read_facts(database_url), "transactions")
        finally:
            admin.execute("SELECT pg_drop_replication_slot('forgotten')")
    assert (found.level, found.found) == ("warn", "1 replication slot that nobody uses")


def test_connections_near_their_limit_are_told(database_url: str) -> None:
    with psycopg.connect(database_url), psycopg.connect(database_url):
        facts = read_facts(database_url)
    assert facts.vitals.connections >= 3
    assert facts.vitals.max_connections == 297  # three are left for superusers
    for used, level in ((100, "ok"), (240, "warn"), (290, "fail")):
        assert finding(replace(facts, vitals=replace(facts.vitals, connections=used)), "connections").level == level


def test_a_disk_that_fills_is_told(database_url: str) -> None:
    facts = read_facts(database_url)
    assert facts.disk is not None
    assert facts.disk.total_bytes > facts.disk.free_bytes > 0
    gib = 1024**3
    for free, total, level in ((50, 100, "ok"), (9, 100, "warn"), (2, 100, "fail"), (1, 2, "warn")):
        assert finding(replace(facts, disk=Disk(free * gib, total * gib)), "disk").level == level
    away = replace(facts.vitals, data_directory="/nonexistent/data")
    for place, vitals in (
        (Place("postgresql://db.example.org/x", development=False), facts.vitals),
        (Place(database_url, development=False), away),
        (Place(database_url, development=False), replace(away, data_directory=None)),
    ):
        assert checkup.find_disk(place, vitals) is None
    assert finding(replace(facts, disk=None), "disk").level == "skip"


def test_a_role_that_may_see_little_is_no_reason_to_fail(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("CREATE ROLE modest")
        try:
            vitals = asyncio.run(_vitals_as(database_url, "modest"))
        finally:
            admin.execute("DROP ROLE modest")
    assert vitals.data_directory is None


async def _vitals_as(url: str, role: str) -> Vitals:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"SET ROLE {role}")
        return await read_vitals(connection)
    finally:
        await connection.close()


# The engine ----------------------------------------------------------------------------------------------------------


def test_workers_and_leader_are_missed(operator: Operator) -> None:
    facts = read_facts(operator.url)
    assert [finding(facts, name).level for name in ("workers", "leader")] == ["fail", "fail"]
    lead(operator, operator.register_worker(kinds=["order"]))
    facts = read_facts(operator.url)
    assert [finding(facts, name).level for name in ("workers", "leader")] == ["ok", "ok"]
    with psycopg.connect(operator.url, autocommit=True) as connection:
        connection.execute("UPDATE taskflow.worker SET heartbeat_at = now() - interval '1 minute'")
        connection.execute("UPDATE taskflow.leader SET expires_at = now() - interval '1 minute'")
    facts = read_facts(operator.url)
    assert [finding(facts, name).level for name in ("workers", "leader")] == ["fail", "fail"]


def test_jobs_that_no_live_worker_runs_are_named(operator: Operator) -> None:
    operator.register_worker(kinds=["order"])
    operator.enqueue()
    assert finding(read_facts(operator.url), "kinds").level == "ok"
    operator.enqueue("send_email", queue="builtin")
    found = finding(read_facts(operator.url), "kinds")
    assert (found.level, "send_email in queue builtin (1)" in found.found) == ("warn", True)


def test_paused_queues_with_jobs_are_named(operator: Operator) -> None:
    operator.taskflow("queues", "pause", "orders")
    assert finding(read_facts(operator.url), "queues").level == "ok", "nobody waits"
    operator.enqueue()
    found = finding(read_facts(operator.url), "queues")
    assert (found.level, found.found) == ("warn", "paused, with jobs that are ready: orders (1)")


def test_what_is_kept_is_told_and_what_should_be_gone(operator: Operator) -> None:
    facts = read_facts(operator.url)
    assert "nobody has looked after it yet" in finding(facts, "retention").found
    engine = engine_of(facts)
    today = engine.upkeep.retention.today

    def judge(**said: Any) -> Finding:
        given = {"is_looked_after": True, "kept_days": 30, "waits_s": 0.0} | said
        retention = replace(engine.upkeep.retention, **given)
        upkeep = replace(engine.upkeep, retention=retention)
        return finding(replace(facts, engine=replace(engine, upkeep=upkeep)), "retention")

    assert judge(kept_days=None).level == "ok"
    assert "everything is kept" in judge(kept_days=None).found
    kept = judge(oldest=today - timedelta(days=31))
    assert (kept.level, kept.found) == ("ok", f"30 days are kept; the oldest day is {today - timedelta(days=31)}")
    behind = judge(oldest=today - timedelta(days=32))
    assert (behind.level, behind.found.endswith(", 2 days behind")) == ("warn", True)
    assert "old transactions" in behind.advice
    assert "clock is watched" in judge(oldest=today - timedelta(days=32), waits_s=3600).advice


def test_partitions_that_run_out_are_told(operator: Operator) -> None:
    days = engine_of(read_facts(operator.url)).upkeep.partition_days
    assert days >= 7
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    for day, table, level in ((tomorrow + timedelta(days=2), "done", "warn"), (tomorrow, "job_log", "fail")):
        with psycopg.connect(operator.url, autocommit=True) as connection:
            connection.execute(f"DROP TABLE taskflow.{table}_{day:%Y%m%d}".encode())
        assert finding(read_facts(operator.url), "partitions").level == level


@pytest.mark.usefixtures("spoilt_schema")
def test_dead_rows_are_told(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = read_facts(operator.url)
    assert finding(facts, "dead rows").level == "ok"
    engine = engine_of(facts)
    for rows, level in ((19_999, "ok"), (20_000, "warn"), (500_000, "fail")):
        ill = replace(engine, upkeep=replace(engine.upkeep, dead_rows={"ready": rows}))
        assert finding(replace(facts, engine=ill), "dead rows").level == level
    # They are read: a job that is taken leaves one.
    with psycopg.connect(operator.url, autocommit=True) as connection:
        connection.execute("ALTER TABLE taskflow.ready SET (autovacuum_enabled = false)")
    operator.enqueue()
    operator.claim()
    monkeypatch.setattr(checks, "DEAD_WARN_ROWS", 1)
    for _ in range(200):
        if finding(read_facts(operator.url), "dead rows").level == "warn":
            return
    raise AssertionError("the dead row never showed")


def test_dead_letters_are_a_warning(operator: Operator) -> None:
    assert finding(read_facts(operator.url), "dead letters").level == "ok"
    operator.failed_job()
    found = finding(read_facts(operator.url), "dead letters")
    assert (found.level, found.found) == ("warn", "1 failed jobs")


def test_callbacks_that_do_not_arrive_are_a_warning_with_how_to_list_and_replay_them(operator: Operator) -> None:
    assert finding(read_facts(operator.url), "callbacks") == Finding("callbacks", "ok", "none has failed")

    def deliver() -> Claim:
        operator.taskflow("jobs", "cancel", str(operator.enqueue(callback_url="https://shop.example/done")))
        return operator.claim(queues=[DELIVERY_QUEUE], kinds=[DELIVERY_KIND])[0]

    operator.fail(deliver())
    assert finding(read_facts(operator.url), "callbacks").level == "ok", "one failure may be a hiccup"
    again = deliver()
    operator.fail(msgspec.structs.replace(again, failures=again.failures + 1))
    tried = finding(read_facts(operator.url), "callbacks")
    assert (tried.level, tried.found) == ("warn", "1 tried again after 2 failures or more")
    assert "`taskflow webhooks list --status pending`" in tried.advice

    operator.fail(deliver(), for_good=True)
    failed = finding(read_facts(operator.url), "callbacks")
    assert re.fullmatch(
        r"1 failed, the last of them [\d.]+m?s ago; 1 tried again after 2 failures or more", failed.found
    ), failed
    assert failed.level == "warn"
    for command in ("webhooks list --status failed", "webhooks replay ID", "webhooks show ID"):
        assert f"`taskflow {command}`" in failed.advice


# The settings --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("safe")
def test_a_secret_that_is_missing_or_open_fails(operator: Operator, tmp_path: Path) -> None:
    def level(**environ: str) -> tuple[str, str]:
        document = operator.taskflow("doctor", "--json", TASKFLOW_DATA_DIR=str(tmp_path), **environ).json
        [check] = [check for check in document["checks"] if check["check"] == "secret key"]
        return check["level"], check["advice"] or ""

    assert level(TASKFLOW_ENV="production")[0] == "fail"
    assert level()[0] == "warn"
    assert level(TASKFLOW_SECRET_KEY=str(uuid4())) == ("ok", "")
    path = tmp_path / "secret.key"
    path.touch(mode=0o600)
    assert level(TASKFLOW_ENV="production") == ("ok", "")
    path.chmod(0o644)
    assert level() == ("fail", f"chmod 600 {path}")


def test_mail_that_goes_nowhere_is_a_warning_in_production(operator: Operator) -> None:
    def level(**environ: str) -> tuple[str, str]:
        document = operator.taskflow("doctor", "--json", **environ).json
        [check] = [check for check in document["checks"] if check["check"] == "mail"]
        return check["level"], check["found"]

    assert level()[0] == "ok"
    assert level(TASKFLOW_ENV="production")[0] == "warn"
    assert level(TASKFLOW_SMTP_URL="smtp://me:hush@mail.example.org") == ("ok", "sent through mail.example.org")
