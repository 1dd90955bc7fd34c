"""
The pages of the documentation as their readers have them: samples are taken out of a page and run in its order, and
what they give is compared with what the page shows.

`run_samples` runs shell samples, each with the JSON that the page shows right after it; for pages with more than that
see `reader`.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskflow.db.server_program import bindir
from tests.support.operator import Said
from tests.support.reference import ROOT, SOURCE

DOCS = ROOT / "docs"
WITHIN_S = 40.0  # for what other processes do; this machine may be busy
COMMAND_S = 120.0

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
    """Return the lines of *shown* that do not come in *given* in its order; numbers and widths of columns are free."""
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
