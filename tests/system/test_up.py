"""What a newcomer does, with real processes: `taskflow up`, a first job, Ctrl-C, and all that may be in the way."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from tests.support.up import SOURCE, Up, free_port, job, left_over, submit, wait_until

StartUp = Callable[..., Up]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def wait_for(up: Up, job_id: str, status: str) -> dict[str, object]:
    wait_until(lambda: job(up, job_id)["status"] == status)
    return job(up, job_id)


@contextmanager
def slow_mail_server(delay_s: float) -> Iterator[tuple[str, list[str]]]:
    """A mail server that thinks about each mail for *delay_s*; gives its URL and what it has begun to take."""
    begun: list[str] = []

    class Handler:
        async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
            begun.append(str(envelope.mail_from))
            await asyncio.sleep(delay_s)
            return "250 taken"

    port = free_port()
    controller = Controller(Handler(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield f"smtp://127.0.0.1:{port}", begun
    finally:
        controller.stop()


@pytest.mark.covers("S2-40", "S2-42", "S2-13", "S2-4", "S2-30", "X-18")
def test_the_pasted_curl_sends_a_first_mail(data: Path, up: StartUp) -> None:
    running = up().wait_ready()
    lines = running.output.splitlines()
    assert any(line.endswith(f"export TASKFLOW_DATA_DIR={data}") for line in lines), (
        "the directory is not the usual one"
    )
    start = next(number for number, line in enumerate(lines) if "curl -s" in line)

    answer = subprocess.run("\n".join(lines[start : start + 2]), shell=True, capture_output=True, text=True, check=True)

    job_id = re.search(r'"jobId":"([0-9a-f-]{36})"', answer.stdout)
    assert job_id, answer.stdout
    result = wait_for(running, job_id[1], "completed")["result"]
    assert isinstance(result, dict)
    assert result["emailId"] == f"email_{job_id[1]}"
    assert Path(str(result["path"])).is_relative_to(data / "mail")
    assert data.joinpath("credentials.json").stat().st_mode & 0o777 == 0o600
    assert data.joinpath("secret.key").stat().st_mode & 0o777 == 0o600
    assert running.credentials["apiKey"] not in running.output, "no terminal, so it would stay in a log"
    assert f"API key  in {data / 'credentials.json'}" in running.output


# Presses Ctrl-C when the module argv[1] is looked for, and drops what comes of it, as code beneath an import may.
PRESSED = """
import os, signal, sys

module = sys.argv.pop(1)

class Presser:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                pass

sys.meta_path.insert(0, Presser())
from taskflow.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["typer", "pydantic", "taskflow.apps.supervisor"])
def test_a_ctrl_c_while_it_is_being_loaded_is_not_lost(data: Path, module: str) -> None:
    words = [sys.executable, "-c", PRESSED, module, "up", "--data-dir", str(data), "--port", "0"]
    done = subprocess.run(words, env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
    assert not data.exists()


@pytest.mark.covers("S3-25", "S4-62")
@pytest.mark.usefixtures("made")
def test_ctrl_c_lets_a_running_job_end_and_stops_postgresql_last(data: Path, up: StartUp) -> None:
    with slow_mail_server(1.0) as (url, begun):
        running = up(environ={"SMTP_URL": url}).wait_ready()
        job_id = submit(running)
        wait_until(lambda: bool(begun))
        running.interrupt()
        wait_until(lambda: "stopping" in running.output)
        assert running.find("postgres") is not None
        assert running.wait_end() == 0
        assert not left_over(data)

        again = up().wait_ready()
        found = job(again, job_id)
        assert (found["status"], found["attempt"]) == ("completed", 1)
        assert len(begun) == 1


@pytest.mark.usefixtures("made")
def test_a_second_ctrl_c_stops_now_and_the_job_runs_again_later(data: Path, up: StartUp) -> None:
    with slow_mail_server(30.0) as (url, begun):
        running = up(environ={"SMTP_URL": url}).wait_ready()
        job_id = submit(running)
        wait_until(lambda: bool(begun))
        running.interrupt()
        wait_until(lambda: "stopping" in running.output)
        began = time.monotonic()
        running.interrupt()
        running.wait_end()
        assert time.monotonic() - began < 8
        assert not left_over(data)

        again = up().wait_ready()
        found = wait_for(again, job_id, "completed")
        assert found["failures"] == 0, "nobody charges a job for our end"


@pytest.mark.covers("S3-26")
@pytest.mark.usefixtures("made")
def test_parts_that_are_killed_are_reported_and_come_back(up: StartUp) -> None:
    running = up().wait_ready()
    url = running.url
    for role in ("api", "worker", "postgres"):
        before = running.find(role)
        assert running.kill(role)
        wait_until(partial(_is_another, running, role, before))
        assert f"{role} was killed by SIGKILL; starting it again in 0.1 s" in running.output
    assert running.url == url
    assert wait_for(running, submit(running), "completed")["attempt"] == 1


def _is_another(up: Up, role: str, before: int | None) -> bool:
    return up.find(role) not in {None, before}


@pytest.mark.usefixtures("made")
def test_it_starts_again_at_once_after_its_supervisor_was_killed(up: StartUp) -> None:
    port = str(free_port())
    first = up("--port", port).wait_ready()
    job_id = submit(first)
    first.kill("supervisor")

    again = up("--port", port).wait_ready()
    assert again.url == first.url
    assert job(again, job_id)["jobId"] == job_id


@pytest.mark.usefixtures("made")
def test_a_second_one_on_the_same_directory_is_refused_in_one_line(data: Path, up: StartUp) -> None:
    first = up().wait_ready()
    second = up()
    assert second.wait_end() == 1
    assert second.output == (
        f"taskflow: TaskFlow is already running on {data} (process {first.process.pid}): use that one, or choose "
        "another directory with --data-dir\n"
    )
    submit(first)


def test_a_taken_port_is_refused_in_one_line(data: Path, up: StartUp) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = up("--port", str(port))
        assert refused.wait_end() == 1
    assert refused.output == (
        f"taskflow: cannot listen on 127.0.0.1 port {port} (Address already in use): stop what does, or choose another "
        "with --port (0 takes a free one)\n"
    )
    assert not left_over(data)


def test_a_directory_that_cannot_be_written_is_refused_in_one_line(data: Path, up: StartUp) -> None:
    data.touch()
    refused = up()
    assert refused.wait_end() == 1
    assert re.fullmatch(r"taskflow: cannot write to .*: choose another directory with --data-dir\n", refused.output)


def test_a_database_of_another_major_version_is_refused_in_one_line(data: Path, up: StartUp) -> None:
    data.joinpath("postgres").mkdir(parents=True)
    data.joinpath("postgres/PG_VERSION").write_text("12\n")
    refused = up()
    assert refused.wait_end() == 1
    assert re.fullmatch(r"taskflow: .* was made by PostgreSQL 12, this is PostgreSQL \d+: .*\n", refused.output)
    assert not left_over(data)


@pytest.mark.covers("S3-27")
def test_wrong_settings_are_all_named_in_one_line(up: StartUp) -> None:
    refused = up("--port", "70000", environ={"MAX_RETRIES": "11"})
    assert refused.wait_end() == 1
    assert refused.output.count("\n") == 1
    assert "--port must be a whole number from 0 to 65535, got '70000'" in refused.output
    assert "MAX_RETRIES must be a whole number from 0 to 10, got '11'" in refused.output


@pytest.mark.usefixtures("made")
@needs_root
def test_it_runs_as_an_ordinary_user(data: Path, up: StartUp) -> None:
    """A user namespace in which we are `nobody` is an ordinary user to everything that asks, without root's rights."""
    data.parent.chmod(0o777)
    prefix = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    running = up(prefix=prefix).wait_ready()
    assert wait_for(running, submit(running), "completed")["attempt"] == 1


@needs_root
def test_root_without_user_namespaces_is_served_as_well(data: Path, up: StartUp) -> None:
    """What a container forbids looks like an `unshare` that fails."""
    programs = data.with_name("programs")
    programs.mkdir()
    programs.joinpath("unshare").write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2; exit 1\n")
    programs.joinpath("unshare").chmod(0o755)
    running = up(environ={"PATH": f"{programs}:{os.environ['PATH']}"}).wait_ready()
    assert wait_for(running, submit(running), "completed")["attempt"] == 1
    assert data.joinpath("postgres").owner() == "nobody"
    assert data.stat().st_mode & 0o777 == 0o711


@pytest.mark.usefixtures("made")
def test_sigterm_stops_it_like_ctrl_c(data: Path, up: StartUp) -> None:
    running = up().wait_ready()
    running.process.send_signal(signal.SIGTERM)
    assert running.wait_end() == 0
    assert not left_over(data)


@pytest.mark.usefixtures("made")
@pytest.mark.covers("S2-43", "S3-1", "X-11")
def test_workers_of_their_own_join_a_running_up(data: Path, up: StartUp) -> None:
    running = up("--port", "0", "--workers", "0").wait_ready()
    job_id = submit(running)
    workers = up(
        "--processes", "2", "--concurrency", "3", command="worker", ready="2 processes, 3 jobs each"
    ).wait_ready()
    wait_for(running, job_id, "completed")

    assert workers.kill("worker")
    wait_until(lambda: "was killed by SIGKILL; starting it again in 0.1 s" in workers.output)
    wait_for(running, submit(running), "completed")

    workers.interrupt()
    assert workers.wait_end() == 0
    assert job(running, submit(running))["status"] == "pending"


@pytest.mark.covers("S3-30", "S2-49", "X-11")
@pytest.mark.usefixtures("made")
def test_a_further_api_serves_the_same_jobs(data: Path, up: StartUp) -> None:
    running = up().wait_ready()
    job_id = submit(running)
    port = free_port()
    further = up("--port", str(port), command="api", ready="taskflow.api.start").wait_ready()
    with running.client() as client:
        answer = client.get(f"http://127.0.0.1:{port}/api/v1/jobs/{job_id}")
    assert answer.json()["jobId"] == job_id
    further.interrupt()
    assert further.wait_end() == 0
