"""
From one version to the next, with real processes of both: what docs/operations/upgrade.md promises.

The old version is the code just before the newest migration came in, so that there is always a migration in between.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from tests.support.earlier import (
    Earlier,
    NoHistory,
    commit_before,
    commit_with,
    names_of_migrations,
    statements_at,
    statements_now,
)
from tests.support.up import SOURCE, Up, free_port, left_over, wait_until
from tests.support.versions import SHOP, Version, ended, job_of, stop_at_once, submit, wait_for, work

from taskflow.apps.data_dir import DataDirectory
from taskflow.db.embedded import EmbeddedPostgres
from taskflow.db.migrate import HEAD

FIRST_KEPT = "0012_pre_schedule_options.sql"  # those before it were changed after they had come in
NEWEST = names_of_migrations()[-1]
HOUR_MS = 3_600_000
LETTER = {"to": "ada@example.com", "subject": "Hi", "body": "Hello."}
FAILING = {**LETTER, "forceFail": True}

Before = Callable[[str], Earlier]


@pytest.fixture(scope="session")
def before() -> Iterator[Before]:
    """The code just before a migration came in; unpacked once."""
    base = Path(tempfile.mkdtemp(prefix="tf-earlier-", dir="/tmp"))
    base.chmod(0o755)
    unpacked: dict[str, Earlier] = {}

    def code_before(migration: str) -> Earlier:
        if migration not in unpacked:
            commit = found(commit_before, migration)
            unpacked[migration] = Earlier.unpack(commit, base / migration.partition("_")[0])
        return unpacked[migration]

    yield code_before
    shutil.rmtree(base)


@pytest.fixture(scope="session")
def newest(before: Before) -> Earlier:
    """The old version: the code just before the newest migration."""
    return before(NEWEST)


def found(look: Callable[..., Any], *words: str) -> Any:
    """Return what the history says. Without one the test is skipped, in CI too: it is nothing that one can install."""
    try:
        return look(*words)
    except NoHistory as missing:
        pytest.skip(f"no upgrade can be tested here: {missing}")


def test_what_a_migration_that_came_in_does_is_never_changed() -> None:
    """Whoever has run it would never run the change. The newest may still be in the making."""
    base = found(commit_before, FIRST_KEPT)
    for migration in names_of_migrations()[:-1]:
        commit = base if migration < FIRST_KEPT else found(commit_with, migration)
        if commit is not None:
            assert statements_at(commit, migration) == statements_now(migration), migration


# A data directory ----------------------------------------------------------------------------------------------------


class Site(ThreadingHTTPServer):
    """What a job reads and what is told of another's end; it answers nobody until it is opened."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.told: list[dict[str, Any]] = []
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def is_asked(self) -> bool:
        return bool(select.select([self.socket], [], [], 0)[0])

    def open(self) -> None:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="site")
        self._thread.start()

    def close(self) -> None:
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked may have been killed meanwhile."""


class _Answers(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self._answer(b'[{"id": 1, "name": "ada"}]')

    def do_POST(self) -> None:
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(b"{}")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Nothing."""


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def terminate(running: Up) -> None:
    running.process.send_signal(signal.SIGTERM)
    assert running.wait_end() == 0, running.output


def kill(running: Up) -> None:
    """`kill -9` of all that there is; the supervisor first, which would start the rest again."""
    running.kill("supervisor")
    for line in left_over(running.data):
        with suppress(ProcessLookupError):
            os.kill(int(line.partition(":")[0]), signal.SIGKILL)
    wait_until(lambda: not left_over(running.data))


def fill(client: httpx.Client, site: Site) -> dict[str, str]:
    """Submit jobs and wait until each is in the state that it is named for."""
    jobs = {
        "completed": submit(client, "send_email", LETTER, tags=["kept"], priority="high"),
        "failed": submit(client, "send_email", FAILING, retries=1),
        "retrying": submit(client, "send_email", FAILING, retries=10),
        "scheduled": submit(client, "send_email", LETTER, delay=HOUR_MS, uniqueKey="one", callbackUrl=site.url),
        "cancelled": submit(client, "send_email", LETTER, delay=HOUR_MS),
        "pending": submit(client, "send_email", LETTER, queue="elsewhere"),
    }
    wait_for(client, jobs["failed"], "retrying")
    client.post(f"/jobs/{jobs['failed']}/run-now")  # not refused, unless its time has come just now
    client.post(f"/jobs/{jobs['cancelled']}/cancel").raise_for_status()
    for state, job_id in jobs.items():
        wait_for(client, job_id, state)
    return jobs


def begin(client: httpx.Client, site: Site) -> str:
    """Submit a job that runs until the site is opened, and wait until it does."""
    rows = {"url": f"{site.url}/rows.json", "dataset": "rows"}
    job_id = submit(client, "sync", rows, timeout=60_000)
    wait_until(lambda: site.is_asked)
    return job_id


def everything_of(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """A job with its attempts and its log."""
    job = client.get(f"/jobs/{job_id}").raise_for_status().json()
    return {**job, "log": client.get(f"/jobs/{job_id}/logs").raise_for_status().json()["items"]}


def ticks_of(client: httpx.Client, schedule_id: str) -> list[dict[str, Any]]:
    """Its ledger, oldest first."""
    page = client.get(f"/schedules/{schedule_id}/ticks", params={"limit": 200}).raise_for_status().json()
    items: list[dict[str, Any]] = page["items"]
    return items[::-1]


def wait_for_tick(client: httpx.Client, schedule_id: str, *, after: int) -> str:
    """Wait until it has fired again, its first *after* entries apart; return the job."""
    fired: list[str] = []

    def look() -> bool:
        fired[:] = [t["jobId"] for t in ticks_of(client, schedule_id)[after:] if t["outcome"] == "fired"]
        return bool(fired)

    wait_until(look)
    return fired[-1]


def let_time_pass(data: Path, killed_pid: int) -> None:
    """Let the worker that was killed have been silent for long, and who leads now have led for long."""
    dead, ago = "(SELECT id FROM taskflow.worker WHERE pid = %s)", "- interval '1 min'"
    with psycopg.connect(DataDirectory(data).get_database_url(), autocommit=True) as connection:
        silent = f"UPDATE taskflow.worker SET heartbeat_at = heartbeat_at {ago} WHERE id = {dead}"
        over = f"UPDATE taskflow.leader SET expires_at = now() WHERE holder = {dead}"
        led = f"UPDATE taskflow.leader SET elected_at = elected_at {ago} WHERE holder <> {dead}"
        connection.execute(silent, [killed_pid])
        connection.execute(over, [killed_pid])
        wait_until(lambda: connection.execute(led, [killed_pid]).rowcount == 1)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("migration", "end"), [(FIRST_KEPT, terminate), (NEWEST, kill)], ids=["long ago, stopped", "newest, killed"]
)
def test_a_data_directory_of_an_older_version_is_taken_over_whole(
    migration: str, end: Callable[[Up], None], data: Path, up: Callable[..., Up], before: Before, site: Site
) -> None:
    code = before(migration)
    port = str(free_port())
    old = code.wait_ready(up("--port", port, environ=code.environ))
    kept_files = ("credentials.json", "secret.key", "postgres.password")
    with old.client() as client:
        schedule = {"name": "beat", "taskType": "send_email", "payload": LETTER, "every": 1000, "overlap": "allow"}
        schedule_id = client.post("/schedules", json=schedule).raise_for_status().json()["scheduleId"]
        file_id = client.post("/files", files={"file": ("f", b"kept")}).raise_for_status().json()["id"]
        jobs = fill(client, site)
        running = begin(client, site) if end is kill else None
        wait_until(lambda: bool(ticks_of(client, schedule_id)))
        was = {state: everything_of(client, job_id) for state, job_id in jobs.items()}
        ticks = ticks_of(client, schedule_id)
    files = {name: (data / name).read_bytes() for name in kept_files}
    end(old)
    site.open()

    new = up("--port", port, environ={"TASKFLOW_QUEUES": "builtin,webhooks,elsewhere"}).wait_ready()
    if end is kill:
        let_time_pass(data, old.process.pid)
    assert {name: (data / name).read_bytes() for name in kept_files} == files, "the same address and key"
    with new.client() as client:
        assert client.get(f"{new.url}/ready").json()["schema"] == "current"
        assert client.get(f"/files/{file_id}/content").content == b"kept"
        for state in ("completed", "failed", "cancelled", "scheduled"):
            now = everything_of(client, jobs[state])
            assert {name: now[name] for name in was[state]} == was[state]
        assert was["failed"]["attempt"] == 2
        assert was["completed"]["log"]
        now = everything_of(client, jobs["retrying"])
        assert now["attempts"][0] == was["retrying"]["attempts"][0]
        assert client.post(f"/jobs/{jobs['retrying']}/cancel").is_success

        # what waited is done, and told
        again = client.post("/jobs", json={"taskType": "send_email", "payload": LETTER, "uniqueKey": "one"}).json()
        assert (again["jobId"], again["duplicate"]) == (jobs["scheduled"], True)
        client.post(f"/jobs/{jobs['scheduled']}/run-now").raise_for_status()
        assert ended(client, jobs["scheduled"])["status"] == "completed"
        assert ended(client, jobs["pending"])["attempt"] == 1
        wait_until(lambda: bool(site.told))
        assert site.told[0]["data"]["jobId"] == jobs["scheduled"]

        # the schedule goes on where it was
        known = ticks_of(client, schedule_id)
        assert known[: len(ticks)] == ticks
        fired = wait_for_tick(client, schedule_id, after=len(known))
        assert ended(client, fired)["status"] == "completed"
        instants = [tick["fireAt"] for tick in ticks_of(client, schedule_id)]
        assert len(set(instants)) == len(instants)

        if running is not None:
            again = ended(client, running)
            assert (again["status"], again["attempt"], again["failures"]) == ("completed", 2, 0)
        last = submit(client, "send_email", LETTER)
        assert ended(client, last)["status"] == "completed"

    # and back, where the newer schema promises that; what old workers do on it is tried below
    if migration == NEWEST:
        terminate(new)
        back = code.wait_ready(up("--port", port, "--workers", "0", environ=code.environ))
        with back.client() as client:
            assert client.get(f"{back.url}/ready").json()["schema"] == "newer"
            assert job_of(client, last)["status"] == "completed"
            assert job_of(client, submit(client, "send_email", LETTER))["status"] == "pending"


# A deployment --------------------------------------------------------------------------------------------------------


class Deployment:
    """A database, and both versions on it."""

    def __init__(self, base: Path, url: str, code: Earlier) -> None:
        self.url = url
        self.base = base
        self.code = code
        self.old = Version("old", code.source, base, url)
        with_colour = SHOP.replace("number: int", 'number: int, colour: str = "red"')
        self.new = Version("new", SOURCE, base, url, shop=with_colour)

    @property
    def ledger(self) -> list[tuple[str, str, int, str]]:
        """What handlers wrote down: kind, job, attempt and whose code it was."""
        path = self.base / "ledger"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def held_by(self, version: Version, client: httpx.Client) -> str:
        """Submit a job that ends when another version than *version* runs it, and wait until that one does."""
        job_id = submit(client, "hold", {"code": version.code})
        wait_until(lambda: ("hold", job_id, 1, version.code) in self.ledger)
        return job_id

    def revision(self) -> str:
        with psycopg.connect(self.url) as connection:
            [(revision,)] = connection.execute("SELECT version_num FROM taskflow.alembic_version")
        return str(revision)


@pytest.fixture
def deployment(newest: Earlier, postgres: EmbeddedPostgres) -> Iterator[Deployment]:
    base = Path(tempfile.mkdtemp(prefix="tf-", dir="/tmp"))
    name = f"upgraded_{os.getpid()}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    made = Deployment(base, f"{postgres.url.rpartition('/')[0]}/{name}", newest)
    try:
        yield made
    finally:
        for version in (made.new, made.old):
            version.stop()
        with psycopg.connect(postgres.url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        shutil.rmtree(base)


def exercise(one: httpx.Client, other: httpx.Client) -> None:
    """What clients do and what workers over HTTP do, the next step always by another API."""
    work(one, "kinds", {"kinds": [{"taskType": "far", "queue": "far", "schema": {"type": "object"}}]})
    tag = str(uuid4())
    failed = submit(one, "flaky", tags=[tag])
    soon = submit(other, "note", tags=[tag], delay=100)
    later = submit(one, "note", tags=[tag], delay=HOUR_MS)

    assert wait_for(other, failed, "failed", "completed")["status"] == "failed"
    other.post(f"/jobs/{failed}/retry").raise_for_status()
    again = ended(one, failed)
    assert (again["status"], again["attempt"]) == ("completed", 2)

    other.post(f"/jobs/{later}/cancel").raise_for_status()
    assert job_of(one, later)["status"] == "cancelled"
    assert ended(one, soon)["status"] == "completed"
    listed, chosen = [], {"tag": tag, "limit": "1"}
    for client in (one, other, one):
        page = client.get("/jobs", params=chosen).raise_for_status().json()
        listed += [job["jobId"] for job in page["items"]]
        chosen["cursor"] = page["nextCursor"]
    assert listed == [later, soon, failed]

    booked = ended(one, submit(other, "book"))
    assert booked["status"] == "completed", booked
    assert ended(other, booked["result"])["uniqueKey"] == booked["jobId"]

    headers = {"Idempotency-Key": str(uuid4())}
    twice = [client.post("/jobs", json={"taskType": "note"}, headers=headers) for client in (one, other)]
    assert twice[0].json() == twice[1].json()
    assert "Idempotency-Replayed" in twice[1].headers

    far = submit(other, "far")
    asked: dict[str, Any] = {"taskTypes": ["far"]}
    given = work(one, "claim", asked)
    asked["workerId"] = given["workerId"]
    [token] = [job["token"] for job in given["jobs"]]
    beat = work(other, "heartbeat", {"workerId": given["workerId"], "tokens": [token]})
    assert (beat["lost"], beat["cancelled"]) == ([], [])
    assert work(other, "hand-back", {"items": [{"token": token}]})["items"][0]["status"] == "pending"
    [token] = [job["token"] for job in work(other, "claim", asked)["jobs"]]
    assert work(one, "complete", {"items": [{"token": token, "result": 1}]})["items"][0]["status"] == "completed"
    assert job_of(other, far)["failures"] == 0


@pytest.mark.timeout(180)
def test_a_rollout_and_a_rollback_interrupt_nobody(deployment: Deployment) -> None:
    old, new, code = deployment.old, deployment.new, deployment.code
    old.run("migrate")
    old_worker = old.start_worker()
    key = old.run("keys", "create", "test", "--scope", "owner", "--scope", "operator")
    old_api, by_old = old.start_api(key)
    for up in (old_api, old_worker):
        code.wait_ready(up)
    beat = {"name": "beat", "taskType": "note", "every": 1000, "overlap": "allow"}
    schedule_id = by_old.post("/schedules", json=beat).raise_for_status().json()["scheduleId"]

    # the schema goes first, while the old version is at work; then that works on the newer one
    migrating = new.command("migrate")
    notes = []
    while migrating.poll() is None:
        notes.append(submit(by_old, "note"))
        with suppress(subprocess.TimeoutExpired):
            migrating.wait(0.05)
    _, complaint = migrating.communicate()
    assert migrating.returncode == 0, complaint
    assert deployment.revision() == HEAD
    ready = str(by_old.base_url.join("/ready"))
    wait_until(lambda: by_old.get(ready).json()["schema"] == "newer")
    assert by_old.get(ready).status_code == httpx.codes.OK
    exercise(by_old, by_old)
    held = deployment.held_by(old, by_old)

    # both versions at once, on one queue
    new_api, by_new = new.start_api(key)
    new_worker = new.start_worker()
    for up in (new_api, new_worker):
        up.wait_ready()
    exercise(by_old, by_new)
    exercise(by_new, by_old)
    meetings = [
        job["jobId"]
        for client in (by_old, by_new)
        for job in client.post(
            "/jobs/batch", json=[{"taskType": "meet", "payload": {"number": number}} for number in range(30)]
        )
        .raise_for_status()
        .json()["items"]
    ]
    assert {ended(by_new, job_id)["status"] for job_id in meetings} == {"completed"}

    # the old worker goes in the middle of a job, and the new one takes that over
    stop_at_once(old_worker)
    taken = ended(by_new, held)
    assert (taken["result"], taken["failures"]) == (new.code, 0)

    # back: the old version starts on the newer schema, and takes over from the new one
    held = deployment.held_by(new, by_new)
    code.wait_ready(old.start_worker())
    colours(by_old, by_new)
    stop_at_once(new_worker)
    new_api.process.send_signal(signal.SIGTERM)
    assert new_api.wait_end() == 0, new_api.output
    taken = ended(by_old, held)
    assert (taken["result"], taken["failures"]) == (old.code, 0)
    exercise(by_old, by_old)
    colours(by_old)

    # whoever led: each time of the schedule once, and each job once
    by_old.post(f"/schedules/{schedule_id}/pause").raise_for_status()
    ticks = ticks_of(by_old, schedule_id)
    assert len({tick["fireAt"] for tick in ticks}) == len(ticks)
    fired = [tick["jobId"] for tick in ticks if tick["outcome"] == "fired"]
    for job_id in (*notes, *fired):
        assert ended(by_old, job_id)["status"] == "completed"
    runs = Counter(job_id for kind, job_id, _, _ in deployment.ledger if kind in ("meet", "note"))
    assert {*meetings, *notes, *fired} <= set(runs)
    assert set(runs.values()) == {1}, "something ran twice"


def colours(*clients: httpx.Client) -> None:
    """The newer schema of a kind stands, whatever older workers have published since."""
    for client in clients:
        kinds = client.get("/job-types").raise_for_status().json()["items"]
        [meet] = [kind for kind in kinds if kind["taskType"] == "meet"]
        assert "colour" in json.dumps(meet["schema"]), "an older worker undid the newer schema"
