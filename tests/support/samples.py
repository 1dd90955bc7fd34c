"""Samples of a page of the documentation, run as they stand against a real `taskflow up`: the page cannot lie."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.reference import SOURCE
from tests.support.up import Up

SAMPLE = re.compile(r"^```sh\n(?P<script>.*?)^```\n(?:\n```json\n(?P<answer>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
WITHIN_S = 15.0

# What differs from run to run stands in the page for any value of its form.
FORMS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<instant>"),
    (re.compile(r"^/.*/mail/"), "<data>/mail/"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A shell sample, and the answer that the page shows after it, if it shows one."""

    script: str
    answer: Any


def samples_of(page: Path) -> list[Sample]:
    """Return a page's samples in their order."""
    return [
        Sample(match["script"], json.loads(match["answer"]) if match["answer"] else None)
        for match in SAMPLE.finditer(page.read_text())
    ]


def run_samples(samples: Sequence[Sample], home: Path) -> None:
    """Run samples in a home directory of their own; each gives what its page shows."""
    data = home / ".local" / "share" / "taskflow"
    data.parent.mkdir(parents=True)
    up = Up(data, "--port", "0")
    try:
        up.wait_ready()
        shell = Shell(home, data)
        for sample in samples:
            if sample.answer is None:
                shell.run(sample.script)
            else:
                shell.run_until(sample)
    finally:
        up.stop()


class Shell:
    """
    Runs samples one after the other; plain variables live on, as in a terminal.

    Args:
        home: the reader's home directory and the clone at once, with a `.venv/bin/taskflow` like the one of `make up`.
        data: the data directory, said aloud because root's would be elsewhere.
    """

    def __init__(self, home: Path, data: Path) -> None:
        self._home = home
        self._data = data
        (home / "variables").touch()
        command = home / ".venv" / "bin" / "taskflow"
        command.parent.mkdir(parents=True)
        command.write_text(f'#!/bin/sh\nPYTHONPATH="{SOURCE.parent}" exec "{sys.executable}" -m taskflow "$@"\n')
        command.chmod(0o755)

    def run(self, script: str) -> str:
        text = f". ./variables\n{script}\ndeclare -p | grep -E '^declare -- [a-z]+=' > variables || true\n"
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", text],
            cwd=self._home,
            env={"HOME": str(self._home), "TASKFLOW_DATA_DIR": str(self._data), "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.returncode == 0, f"{done.stderr}\n{script}"
        return done.stdout

    def run_until(self, sample: Sample) -> None:
        """Run a sample until its answer is the page's. One that only reads may be asked again, as a reader would."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            given = json.loads(self.run(sample.script))
            wrong = list(differences(sample.answer, given))
            if not wrong:
                return
            if " -d " in sample.script or " -X " in sample.script or time.monotonic() > deadline:
                raise AssertionError(f"{wrong}\n{sample.script}\n{json.dumps(given, indent=2)}")
            time.sleep(0.05)


def differences(shown: Any, given: Any, place: str = "") -> Iterator[str]:
    """Yield where *given* is not what the page shows; members that it leaves out are free."""
    match shown, given:
        case dict(), dict():
            for name, value in shown.items():
                if name in given:
                    yield from differences(value, given[name], f"{place}/{name}")
                else:
                    yield f"{place}/{name} is missing"
        case list(), list() if len(shown) == len(given):
            for index, value in enumerate(shown):
                yield from differences(value, given[index], f"{place}/{index}")
        case str(), str() if form_of(shown) == form_of(given):
            pass
        case _ if shown != given:
            yield f"{place} is {given!r}, the page shows {shown!r}"


def form_of(text: str) -> str:
    for pattern, form in FORMS:
        text = pattern.sub(form, text)
    return text
