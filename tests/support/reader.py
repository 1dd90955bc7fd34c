"""
Somebody who works through a page of the documentation: each fenced block of it is known by one step of a table.

    walk(page, steps, reader)

A block that no step knows fails the page, and so does a step whose block is gone. What a step does is any function of
a reader and a block; those that most blocks need are here.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import httpx
import psycopg

from taskflow.db.embedded import find_running
from tests.support.operator import Said
from tests.support.pages import WITHIN_S, Block, Shell, blocks_of, differences, documents
from tests.support.reference import ROOT
from tests.support.up import wait_until

START_S = 90.0
STOP_S = 40.0


class Reader:
    """
    Works through one page.

    Args:
        data: the data directory of the deployment that the page is about; a block may be what starts it.
        exits: closed at the end of the page.
        lend_database: returns the URL of a migrated, empty database.
    """

    def __init__(self, shell: Shell, data: Path, exits: ExitStack, lend_database: Callable[[], str]) -> None:
        self.shell = shell
        self.data = data
        self.exits = exits
        self.lend_database = lend_database
        self.said = Said(0, "", "")
        self.seen: dict[str, Any] = {}  # what a step leaves for a later one
        self._client: httpx.Client | None = None
        self._terminals = 0

    @property
    def credentials(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.data / "credentials.json").read_text())
        return found

    def settle(self) -> None:
        """Know the URL and the key, as `$url` and `$key`."""
        url, key = self.credentials["url"], self.credentials["apiKey"]
        self.shell.set(url=url, key=key)
        client = httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {key}"}, timeout=30)
        self._client = self.exits.enter_context(client)

    @property
    def answer(self) -> Any:
        """The last JSON document that came."""
        return documents(self.said.out)[-1]

    def ask(self, method: str, path: str, *, json: Any = None, **headers: str) -> httpx.Response:
        """Send a request with the key, once that is known."""
        assert self._client is not None, "settle first"
        return self._client.request(method, path, json=json, headers=headers)

    def job(self, job_id: str) -> Any:
        """Return a job once it has ended."""
        wait_until(lambda: self.ask("GET", f"/jobs/{job_id}").json()["finishedAt"] is not None, WITHIN_S)
        return self.ask("GET", f"/jobs/{job_id}").json()

    @property
    def database_url(self) -> str:
        url = find_running(self.data / "postgres")
        assert url is not None, self.data
        return url

    def query(self, text: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements as `psql` does, each by itself; return the rows of the last."""
        rows: list[tuple[Any, ...]] = []
        with psycopg.connect(url or self.database_url, autocommit=True) as connection:
            for statement in text.split(";\n"):
                if statement.strip():
                    cursor = connection.execute(statement.encode())
                    rows = cursor.fetchall() if cursor.description else []
        return rows

    @contextmanager
    def terminal(self, command: str, until: str) -> Iterator[Callable[[], str]]:
        """Start a command in a terminal of its own, wait until it has said *until*, and press Ctrl-C at the end."""
        self._terminals += 1
        pattern = re.compile(until, re.MULTILINE)
        log = self.shell.folder / f"terminal-{self._terminals}.log"
        process = self.shell.start(command, log)
        try:
            wait_until(lambda: pattern.search(log.read_text()) is not None or process.poll() is not None, START_S)
            assert pattern.search(log.read_text()), f"{command}\n{log.read_text()}"
            yield log.read_text
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    raise


Do: TypeAlias = Callable[[Reader, Block], None]
Instead: TypeAlias = Mapping[str, str] | Callable[[Reader], Mapping[str, str]]
AS_IT_IS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Step:
    """What is done with the one block of its page that has these *words*; a line break before them begins a line."""

    words: str
    do: Do


def walk(page: Path, steps: Sequence[Step], reader: Reader) -> None:
    """Go through *page* from its first block to its last."""
    left = list(steps)
    for block in blocks_of(page):
        known = [step for step in steps if step.words in f"\n{block.text}"]
        assert len(known) == 1, f"{block.place} is known by {len(known)} steps\n{block.text}"
        assert known[0] in left, f"{block.place}: its step was another block's\n{block.text}"
        left.remove(known[0])
        try:
            known[0].do(reader, block)
        except BaseException as error:
            error.add_note(f"{block.place}\n{block.text}")
            raise
    assert left == [], f"no block of {page.name} has the words of these steps"


def replaced(reader: Reader, text: str, instead: Instead) -> str:
    """Return *text* with what is not here replaced, such as hosts: each of it has to be there."""
    for old, new in (instead if isinstance(instead, Mapping) else instead(reader)).items():
        assert old in text, f"{old!r} is not in the block"
        text = text.replace(old, new)
    return text


def run(*shows: str, instead: Instead = AS_IT_IS, code: int = 0) -> Do:
    """Run it; the output has each of the patterns *shows*."""

    def do(reader: Reader, block: Block) -> None:
        reader.said = reader.shell.run(replaced(reader, block.text, instead), code=code)
        check_shown(reader.said, *shows)

    return do


def check_shown(said: Said, *shows: str) -> None:
    output = said.out + said.err
    assert [pattern for pattern in shows if not re.search(pattern, output, re.MULTILINE)] == [], output


def then(*parts: Do) -> Do:
    """Do one after the other with the same block."""

    def do(reader: Reader, block: Block) -> None:
        for part in parts:
            part(reader, block)

    return do


def answers(*, free: Collection[str] = ()) -> Do:
    """It is the JSON that the last request was answered with."""

    def do(reader: Reader, block: Block) -> None:
        check_same(json.loads(block.text), reader.answer, free=free)

    return do


def results(*, free: Collection[str] = ()) -> Do:
    """It is the result of the job that was submitted last."""

    def do(reader: Reader, block: Block) -> None:
        job = reader.job(reader.answer["jobId"])
        assert job["status"] == "completed", job
        check_same(json.loads(block.text), job["result"], free=free)

    return do


def check_same(shown: Any, given: Any, *, free: Collection[str] = ()) -> None:
    assert list(differences(shown, given, free=free)) == [], json.dumps(given, indent=2)


def sent_to(path: str, instead: Instead = AS_IT_IS, **more: Any) -> Do:
    """Send it with POST; it is taken. Members in *more* are what the page says belongs around it."""

    def do(reader: Reader, block: Block) -> None:
        body = {**more, **json.loads(replaced(reader, block.text, instead))}
        answer = reader.ask("POST", path, json=body)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        reader.said = Said(0, answer.text, "")

    return do


def saved_as(name: str) -> Do:
    """Save it as the file that the next sample reads."""

    def do(reader: Reader, block: Block) -> None:
        (reader.shell.folder / name).write_text(block.text)

    return do


def serve(
    *until: str,
    instead: Instead = AS_IT_IS,
    stays: bool = False,
    check: Callable[[Reader], None] = lambda _reader: None,
) -> Do:
    """
    Start each command in a terminal of its own, until its output has the pattern that is its own; exports come first.

    Args:
        stays: Ctrl-C ends them at the end of the page, not of the block.
        check: what is looked at while they run.
    """

    def do(reader: Reader, block: Block) -> None:
        text = replaced(reader, block.text, instead).replace("\\\n", " ")
        commands = [line for line in text.splitlines() if line.strip() and not line.startswith("export ")]
        reader.shell.run("\n".join(line for line in text.splitlines() if line.startswith("export ")))
        assert len(commands) == len(until), commands
        with ExitStack() as exits:
            shown = [
                (reader.exits if stays else exits).enter_context(reader.terminal(*one))
                for one in zip(commands, until, strict=True)
            ]
            check(reader)
            reader.said = Said(0, "".join(read() for read in shown), "")

    return do


def asks_database(*, instead: Instead = AS_IT_IS, rows: int = 0) -> Do:
    """Run the statements on the deployment's database; the last gives *rows* rows or more."""

    def do(reader: Reader, block: Block) -> None:
        found = reader.query(replaced(reader, block.text, instead))
        assert len(found) >= rows, found

    return do


def is_run_by(test: str, why: str) -> Do:
    """Leave it to another test, which takes it out of the page itself; *why* says why it is not run here."""

    def do(_reader: Reader, block: Block) -> None:
        page = Path(block.place.partition(":")[0]).name
        assert page in (ROOT / test).read_text(), f"{test} does not read {page}: {why}"

    return do


def parses(why: str) -> Do:
    """Let its own language read it and no more; *why* says why it cannot run here."""

    def do(reader: Reader, block: Block) -> None:
        assert why
        if block.language == "js":
            if shutil.which("node") is None:
                assert "CI" not in os.environ, "there is no node"
                return
            program = reader.shell.folder / "sample.mjs"
            program.write_text(block.text)
            done = subprocess.run(["node", "--check", program], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        else:
            compile(block.text, block.place, "exec")

    return do
