"""`taskflow worker --app` beside a running `taskflow up`, with real processes: an application as its author has it."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support.up import SOURCE, Up, processes, wait_until

from taskflow.apps.data_dir import DataDirectory

JOBS = '''
import os, signal, time
from collections.abc import AsyncIterator
from pathlib import Path

from taskflow import JobContext, TaskFlow

app = TaskFlow()
HERE = Path(__file__).parent


@app.lifespan
async def opened() -> AsyncIterator[dict[str, int]]:
    yield {"pid": os.getpid()}


@app.after_attempt
def die_after_commit(ctx: JobContext, error: BaseException | None) -> None:
    if ctx.kind == "book_and_die_after" and ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def book(connection, entry: str) -> None:
    connection.execute("INSERT INTO public.ledger VALUES (%s)", [entry])


@app.job("shout", queue="shop", timeout_s=10)
def shout(ctx: JobContext, word: str, times: int = 1) -> dict:
    """A sync function: it runs in a process of its own."""
    ctx.log(f"shouting {word}")
    ctx.progress(0.5, "half")
    return {"said": word.upper() * times, "pid": os.getpid(), "lifespan": ctx.state["pid"]}


@app.job("book_and_die_before", queue="shop", retries=0)
def book_and_die_before(ctx: JobContext) -> int:
    with ctx.transaction() as connection:
        book(connection, f"before {ctx.attempt}")
    if ctx.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return ctx.attempt


@app.job("book_and_die_after", queue="shop", retries=0)
def book_and_die_after(ctx: JobContext) -> int:
    with ctx.transaction() as connection:
        book(connection, f"after {ctx.attempt}")
    return ctx.attempt


@app.job("chain", queue="shop")
async def chain(word: str) -> str:
    return str((await shout.enqueue(word)).job_id)
'''


@pytest.fixture
def shop(data: Path) -> Path:
    """An application's own directory."""
    place = data.parent / "shop"
    place.mkdir()
    (place / "jobs.py").write_text(JOBS)
    return place


@pytest.fixture
def worker(made: Path, shop: Path) -> Iterator[Callable[..., Up]]:
    """Start `taskflow worker` in the application's directory."""
    started: list[Up] = []

    def start(*options: str) -> Up:
        # Python finds `jobs` by its working directory, as it does for everybody
        more = ["env", "-C", str(shop)]
        started.append(Up(made, *options, command="worker", ready="Ctrl-C drains", prefix=more))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def submit(up: Up, kind: str, **payload: Any) -> str:
    with up.client() as client:
        answer = client.post("/jobs", json={"taskType": kind, "payload": payload})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["jobId"])


def ended(up: Up, job_id: str) -> dict[str, Any]:
    with up.client() as client:

        def job() -> dict[str, Any]:
            found: dict[str, Any] = client.get(f"/jobs/{job_id}").raise_for_status().json()
            return found

        wait_until(lambda: job()["status"] in ("completed", "failed", "cancelled"), 30)
        return job()


@pytest.mark.timeout(120)
def test_an_application_from_its_first_worker_to_a_changed_one(
    up: Callable[..., Up], worker: Callable[..., Up], made: Path, shop: Path
) -> None:
    here = up("--port", "0").wait_ready()
    database = DataDirectory(made).get_database_url()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE public.ledger (entry text)")
    team = worker("--app", "jobs:app", "--reload").wait_ready()
    assert "working on queues shop: 1 process, 5 jobs each" in team.output

    # its kinds are known within a second, and payloads are checked by their types
    def kinds() -> dict[str, Any]:
        with here.client() as client:
            return {kind["taskType"]: kind for kind in client.get("/job-types").json()["items"]}

    began = time.monotonic()
    wait_until(lambda: "shout" in kinds(), 1.0)
    assert time.monotonic() - began < 1.0
    assert kinds()["shout"]["queue"] == "shop"
    with here.client() as client:
        wrong = client.post("/jobs", json={"taskType": "shout", "payload": {"word": 5, "volume": 11}})
        assert wrong.status_code == 422
        assert sorted(error["pointer"] for error in wrong.json()["errors"]) == ["/payload/volume", "/payload/word"]

    # a sync function runs in a process of its own, with the app's lifespan there
    done = ended(here, submit(here, "shout", word="hey", times=2))
    assert done["status"] == "completed", done
    assert done["result"]["said"] == "HEYHEY"
    assert done["result"]["pid"] == done["result"]["lifespan"] != here.find("worker")
    assert (done["progress"]["fraction"], done["progress"]["message"]) == (0.5, "half")
    with here.client() as client:
        lines = client.get(f"/jobs/{done['jobId']}/logs").json()["items"]
    assert [line["message"] for line in lines] == ["shouting hey"]

    # what a job submits goes to the same database
    chained = ended(here, ended(here, submit(here, "chain", word="a"))["result"])
    assert chained["result"]["said"] == "A"

    # killed around the commit: effects once, whichever side it was
    before = ended(here, submit(here, "book_and_die_before"))
    after = ended(here, submit(here, "book_and_die_after"))
    assert (before["status"], before["attempt"], after["status"], after["attempt"]) == ("completed", 2, "completed", 1)
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT entry FROM public.ledger ORDER BY 1").fetchall() == [
            ("after 1",),
            ("before 2",),
        ]

    # a change that cannot be loaded is said, and the old code works on; the next one is taken
    (shop / "jobs.py").write_text(JOBS + "\nraise RuntimeError('half written')\n")
    wait_until(lambda: "RuntimeError: half written (jobs.py, line" in team.output and "works on" in team.output, 15)
    assert ended(here, submit(here, "chain", word="b"))["status"] == "completed"
    (shop / "jobs.py").write_text(JOBS.replace("word.upper()", "word.lower()"))
    wait_until(lambda: team.output.count("working on queues shop") == 2, 40)
    assert ended(here, submit(here, "shout", word="Soft"))["result"]["said"] == "soft"


def test_a_wrong_app_gets_one_clear_line(shop: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "taskflow", "worker", "--app", "jobs:nothing"],
        cwd=shop,
        env={"PYTHONPATH": str(SOURCE), "HOME": str(shop)},
        capture_output=True,
        text=True,
        check=False,
    )
    words = "taskflow: --app jobs:nothing: module 'jobs' has no 'nothing'; it has app\n"
    assert (done.returncode, done.stderr) == (1, words)


def left_of(shop: Path) -> list[int]:
    """The processes that work in an application's directory."""
    found = []
    for pid in processes():
        with suppress(OSError):
            if Path(f"/proc/{pid}/cwd").resolve(strict=True) == shop:
                found.append(pid)
    return found


def started(shop: Path, log: Path, **environ: str) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "taskflow", "worker", "--app", "jobs:app"],
            cwd=shop,
            env={"PYTHONPATH": str(SOURCE), "HOME": str(shop), **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_that_is_ended_while_its_app_is_imported_leaves_nothing_behind(
    shop: Path, signum: signal.Signals
) -> None:
    """By SIGTERM it takes along even what the app has started; by SIGKILL the kernel takes what was importing."""
    helper = "import subprocess; subprocess.Popen(['sleep', '600'])\n" if signum is signal.SIGTERM else ""
    (shop / "jobs.py").write_text(
        f"{helper}from pathlib import Path; import time\nPath('begun').touch()\ntime.sleep(600)"
    )
    log = shop.parent / "worker.log"
    worker = started(shop, log)
    try:
        wait_until((shop / "begun").exists, 20)
        worker.send_signal(signum)
        assert worker.wait(10) == (0 if signum is signal.SIGTERM else -signum), log.read_text()
        wait_until(lambda: not left_of(shop), 10)
    finally:
        worker.kill()
        worker.wait()


def test_an_app_may_print_before_and_after_it_is_described(shop: Path) -> None:
    """It is the app's business what it says; here it gets as far as to look for a database."""
    chatter = "import atexit\nprint('hello', end='')\natexit.register(print, 'goodbye')\n"
    (shop / "jobs.py").write_text(chatter + JOBS)
    log = shop.parent / "worker.log"
    worker = started(shop, log)
    assert worker.wait(20) == 1
    assert "no database" in log.read_text()


ENVIRON_JOBS = """
import os
from pathlib import Path

from taskflow import TaskFlow

with Path("seen").open("a") as seen:
    print(*os.environ, file=seen)
app = TaskFlow()


@app.job("names", queue="shop")
def names() -> list[str]:
    return sorted(os.environ)


@app.job("names_async", queue="shop")
async def names_async() -> list[str]:
    return sorted(os.environ)
"""


@pytest.mark.timeout(90)
def test_an_application_is_told_neither_root_secret_nor_mail_password(
    up: Callable[..., Up], made: Path, shop: Path
) -> None:
    here = up("--port", "0").wait_ready()
    (shop / "jobs.py").write_text(ENVIRON_JOBS)
    secrets = {
        "TASKFLOW_SECRET_KEY": "k" * 40,
        "TASKFLOW_SMTP_URL": "smtp://me:hunter2@mail.example.org",
        "SMTP_URL": "smtp://me:hunter2@mail.example.org",
    }
    team = started(shop, shop.parent / "worker.log", TASKFLOW_DATA_DIR=str(made), KNOWN="yes", **secrets)
    try:
        wait_until(lambda: (shop / "seen").exists(), 20)
        with here.client() as client:
            wait_until(lambda: "names" in client.get("/job-types").text, 20)
        for kind in ("names", "names_async"):
            told = ended(here, submit(here, kind))["result"]
            assert "KNOWN" in told
            assert not set(secrets) & set(told)
        told = (shop / "seen").read_text().split()
        assert told.count("KNOWN") == 3  # describing, the worker, its child
        assert not set(secrets) & set(told)
    finally:
        team.terminate()
        team.wait(40)
