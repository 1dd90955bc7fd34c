"""
The pages of the documentation as their readers have them: samples are taken out of a page, run in its order, and what
they give is compared with what the page shows.

    run_samples(shell, page)       shell samples, each with the JSON that the page shows right after it
    walk(page, steps, reader)      every fenced block, each by the one step of a table that knows it

A block that no step knows fails the page, and so does a step whose block is gone.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import httpx
import psycopg

from taskflow.db.embedded import bindir, find_running
from tests.support.operator import Said
from tests.support.reference import ROOT, SOURCE
from tests.support.up import wait_until

DOCS = ROOT / "docs"
WITHIN_S = 15.0
START_S = 60.0
STOP_S = 40.0
COMMAND_S = 60.0  # on a machine that has other work too

SAMPLE = re.compile(r"^```sh\n(?P<script>.*?)^```\n(?:\n```json\n(?P<answer>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
ANYTHING = "…"  # in a text that a page shows, for what it leaves out

# What differs from run to run stands in the page for any value of its form.
FORMS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<instant>"),
    (re.compile(r"^/.*/mail/"), "<data>/mail/"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<digest>"),
    (re.compile(r"127\.0\.0\.1:\d+(/\w+)?"), "<address>"),
)
NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Sample:
    """A shell sample, and the answer that the page shows after it, if it shows one."""

    script: str
    answer: Any


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, without its indent. *place* is its page and line."""

    language: str
    text: str
    place: str


def samples_of(page: Path) -> list[Sample]:
    """Return the page's shell samples in their order."""
    return [
        Sample(match["script"], json.loads(match["answer"]) if match["answer"] else None)
        for match in SAMPLE.finditer(page.read_text())
    ]


def blocks_of(page: Path) -> list[Block]:
    """Return every fenced block in its order."""
    text = page.read_text()
    return [
        Block(
            match["language"],
            textwrap.dedent(match["text"]),
            f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}",
        )
        for match in FENCE.finditer(text)
    ]


# A terminal ------------------------------------------------------------------------------------------------------


class Shell:
    """
    Runs scripts one after the other; plain variables and exported settings live on, as in a terminal.

    Args:
        home: the reader's home directory, with a `.venv/bin/taskflow` like the one of `make up`.
        data: the data directory, said aloud because root's would be elsewhere.
        folder: where the terminal is; by default in the home, as in a clone.
    """

    def __init__(self, home: Path, data: Path, folder: Path | None = None) -> None:
        self.home = home
        self.folder = folder or home
        self._variables = self.folder / "variables"
        self._variables.touch()
        self._data = data
        self.programs = home / ".venv" / "bin"
        self.add_program("taskflow", f'PYTHONPATH="{SOURCE.parent}" exec "{sys.executable}" -m taskflow "$@"')

    def add_program(self, name: str, script: str) -> None:
        """Let the reader have a program *name*; what they have stays as it is."""
        path = self.programs / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)

    def set(self, **variables: str) -> None:
        """Set variables of the shell."""
        with self._variables.open("a") as file:
            file.writelines(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())

    def run(self, script: str, *, code: int = 0) -> Said:
        """Run *script* to its end, which must be *code*."""
        keep = "declare -p | grep -E '^declare -(- [a-z]+|x (TASKFLOW|OTEL)_[A-Z_]+)=' > \"$variables\" || true"
        text = f"variables={self._variables}\n. {self._variables}\n{script}\n{keep}\n"
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", text],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S,
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}\n{script}"
        return Said(done.returncode, done.stdout, done.stderr)

    def start(self, script: str, log: Path) -> "subprocess.Popen[bytes]":
        """Start *script* in another terminal, which shows what *log* then has."""
        with log.open("wb") as file:
            return subprocess.Popen(
                ["bash", "-eu", "-c", f". {self._variables}\n{script}\n"],
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                preexec_fn=_hear_interrupts,
            )

    @property
    def environ(self) -> dict[str, str]:
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}{os.pathsep}{bindir()}"
        return {"HOME": str(self.home), "TASKFLOW_DATA_DIR": str(self._data), "PATH": path}


def _hear_interrupts() -> None:
    """A suite that runs in the background ignores Ctrl-C, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_samples(shell: Shell, samples: Sequence[Sample]) -> None:
    """Run *samples*. One that only reads may be asked again until its answer is the page's, as a reader would."""
    for sample in samples:
        deadline = time.monotonic() + WITHIN_S
        while True:
            said = shell.run(sample.script)
            wrong = [] if sample.answer is None else list(differences(sample.answer, said.json))
            if not wrong:
                break
            if " -d " in sample.script or " -X " in sample.script or time.monotonic() > deadline:
                raise AssertionError(f"{wrong}\n{sample.script}\n{said.out}")
            time.sleep(0.05)


# What a page shows, and what came --------------------------------------------------------------------------------


def differences(shown: Any, given: Any, *, free: Collection[str] = (), place: str = "") -> Iterator[str]:
    """
    Yield where *given* is not what the page shows; members that it leaves out are free.

    Args:
        free: names of members of which the form alone counts: names and types, of a list its first item.
    """
    match shown, given:
        case dict(), dict():
            for name, value in shown.items():
                where = f"{place}/{name}"
                if name not in given:
                    yield f"{where} is missing"
                elif name in free:
                    yield from _misshapen(value, given[name], where)
                else:
                    yield from differences(value, given[name], free=free, place=where)
        case list(), list() if len(shown) == len(given):
            for index, value in enumerate(shown):
                yield from differences(value, given[index], free=free, place=f"{place}/{index}")
        case str(), str() if is_like(shown, given):
            pass
        case _ if shown != given:
            yield f"{place} is {given!r}, the page shows {shown!r}"


def _misshapen(shown: Any, given: Any, place: str) -> Iterator[str]:
    match shown, given:
        case dict(), dict():
            for name in shown:
                if name in given:
                    yield from _misshapen(shown[name], given[name], f"{place}/{name}")
                else:
                    yield f"{place}/{name} is missing"
        case list(), list():
            if shown and not given:
                yield f"{place} is empty"
            elif shown:
                yield from _misshapen(shown[0], given[0], f"{place}/0")
        case (int() | float(), int() | float()) | (str(), str()):
            pass
        case _ if type(shown) is not type(given):
            yield f"{place} is {given!r}, the page shows {shown!r}"


def is_like(shown: str, given: str, *, numbers: bool = False) -> bool:
    """Say whether a text is one that the page shows; with *numbers*, any number is as good as any other."""
    pattern = ".*".join(map(re.escape, form_of(shown, numbers=numbers).split(ANYTHING)))
    return re.fullmatch(pattern, form_of(given, numbers=numbers)) is not None


def form_of(text: str, *, numbers: bool = False) -> str:
    for pattern, form in FORMS:
        text = pattern.sub(form, text)
    return NUMBER.sub("<n>", text) if numbers else text


def lines_missing(shown: str, given: str) -> list[str]:
    """Return the lines of *shown* that do not come in *given*, in this order; widths of columns and numbers are free."""
    lines = iter([" ".join(line.split()) for line in given.splitlines()])
    wanted = [" ".join(line.split()) for line in shown.splitlines() if line.strip()]
    return [line for line in wanted if not any(is_like(line, one, numbers=True) for one in lines)]


def documents(text: str) -> list[Any]:
    """Return the JSON documents in *text*, which may follow each other without a break."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while (at := len(text) - len(text[at:].lstrip())) < len(text):
        document, at = decoder.raw_decode(text, at)
        found.append(document)
    return found


# A reader, and what is done with a block ------------------------------------------------------------------------


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
        self._terminals = 0

    @property
    def credentials(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.data / "credentials.json").read_text())
        return found

    def settle(self) -> None:
        """Know the URL and the key, as `$url` and `$key`."""
        self.shell.set(url=self.credentials["url"], key=self.credentials["apiKey"])

    @property
    def answer(self) -> Any:
        """The last JSON document that came."""
        return documents(self.said.out)[-1]

    def ask(self, method: str, path: str, *, json: Any = None, **headers: str) -> httpx.Response:
        """Send a request with the key of the deployment."""
        headers["Authorization"] = f"Bearer {self.credentials['apiKey']}"
        url = f"{self.credentials['url']}/api/v1{path}"
        return httpx.request(method, url, json=json, headers=headers, timeout=30)

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
        log = self.shell.folder / f"terminal-{self._terminals}.log"
        process = self.shell.start(command, log)
        try:
            wait_until(lambda: re.search(until, log.read_text()) is not None or process.poll() is not None, START_S)
            assert re.search(until, log.read_text()), f"{command}\n{log.read_text()}"
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
                return
            program = reader.shell.folder / "sample.mjs"
            program.write_text(block.text)
            done = subprocess.run(["node", "--check", program], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        else:
            compile(block.text, block.place, "exec")

    return do
