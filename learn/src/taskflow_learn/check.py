"""
`python -m taskflow_learn check`: the exercises of the guides, tested on the learner's own files.

    check                   every exercise, and how far it is
    check 03                the exercises of guide 03, step by step, with a hint for the first step that fails
    check 03 --solution     the same on our solutions, to see what solved looks like

An exercise is three files in `learn/exercises/<guide>/`:

    heap_index.py             what the learner edits
    solutions/heap_index.py   one way to do it
    test_heap_index.py        unittest; its `import heap_index` gives whichever of the two is being checked

Tests are steps: they run in the order in which they stand in the file, and a test's first docstring line is what the
learner reads. `HINTS` in the test module is a list with a hint per step, in the same order.

Each exercise runs in a process of its own, with a time limit. Code that is being learned may loop for ever or end the
interpreter, and must not take the checker along.
"""

import argparse
import contextlib
import importlib.util
import inspect
import json
import os
import subprocess
import sys
import traceback
import unittest
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING

from taskflow_learn.config import HOME

if TYPE_CHECKING:
    from _typeshed import OptExcInfo

EXERCISES = HOME / "exercises"
GUIDES = HOME / "guides"
TIME_LIMIT_S = 10.0  # of one exercise
MESSAGE_LIMIT = 400  # characters of one failure; more would scroll the hint away
_INSIDE = "import sys; from taskflow_learn.check import run_inside; run_inside(sys.argv[1])"


@dataclass(frozen=True, slots=True)
class Exercise:
    """One task of a guide: the key of the guide, such as `03`, and the name of the learner's module."""

    guide: str
    slug: str

    @property
    def test(self) -> Path:
        return EXERCISES / self.guide / f"test_{self.slug}.py"

    def folder(self, *, solution: bool) -> Path:
        return EXERCISES / self.guide / "solutions" if solution else EXERCISES / self.guide

    def file(self, *, solution: bool = False) -> Path:
        return self.folder(solution=solution) / f"{self.slug}.py"


@dataclass(frozen=True, slots=True)
class Step:
    """What a test promises, and why it does not hold, if so."""

    promise: str
    problem: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of one exercise came to. *printed* is what the checked code wrote."""

    steps: list[Step]
    hints: list[str]
    printed: str

    @property
    def passed(self) -> int:
        return sum(step.problem is None for step in self.steps)

    @property
    def is_solved(self) -> bool:
        return self.passed == len(self.steps)

    @property
    def hint(self) -> str | None:
        """The hint for the first step that fails."""
        failing = next((index for index, step in enumerate(self.steps) if step.problem is not None), None)
        if failing is None or not self.hints:
            return None
        return self.hints[min(failing, len(self.hints) - 1)]


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code: 1 if a checked exercise is not solved, 2 if there is no such guide."""
    parser = argparse.ArgumentParser(prog="python -m taskflow_learn check", description="Check the guides' exercises.")
    parser.add_argument("guide", nargs="?", help="such as 03; without it, all are listed")
    parser.add_argument("--solution", action="store_true", help="check our solutions instead of your files")
    options = parser.parse_args(arguments)
    if options.guide is None:
        _list_all(solution=options.solution)
        return 0
    exercises = list_exercises(options.guide)
    if not exercises:
        guides = ", ".join(dict.fromkeys(exercise.guide for exercise in list_exercises()))
        print(f"guide {options.guide!r} has no exercises; those that do: {guides}", file=sys.stderr)
        return 2
    print(f"{title_of(options.guide)}\n")
    solved = 0
    for exercise, verdict in _check_all(exercises, solution=options.solution):
        solved += verdict.is_solved
        _print_verdict(exercise, verdict, solution=options.solution)
    print(f"{solved} of {len(exercises)} solved.")
    return 0 if solved == len(exercises) else 1


def list_exercises(guide: str | None = None) -> list[Exercise]:
    """Return the exercises of *guide*, or of all, in order."""
    found = [Exercise(path.parent.name, path.stem.removeprefix("test_")) for path in EXERCISES.glob("*/test_*.py")]
    return sorted(
        (exercise for exercise in found if guide in {None, exercise.guide}),
        key=lambda exercise: (exercise.guide, exercise.slug),
    )


def title_of(guide: str) -> str:
    """Return the title of the page whose file name begins with *guide*."""
    pages = sorted(GUIDES.glob(f"{guide}-*.md")) or sorted(GUIDES.glob(f"{guide}*.md"))
    return pages[0].read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") if pages else guide


def check(exercise: Exercise, *, solution: bool = False) -> Verdict:
    """Run the tests of *exercise* in a process of their own."""
    folder = exercise.folder(solution=solution)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
    }
    try:
        process = subprocess.run(
            [sys.executable, "-c", _INSIDE, str(exercise.test)],
            cwd=folder,  # which Python then searches first for modules: that is how `import` finds the right file
            env=environment,
            capture_output=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
        output, printed = process.stdout, process.stderr
        end = f"the process ended here, with exit code {process.returncode}"
    except subprocess.TimeoutExpired as error:
        output, printed = error.stdout or b"", error.stderr or b""
        end = f"was not done after {TIME_LIMIT_S:g} s: is there a loop that never ends?"
    return _read_verdict(output.decode(errors="replace").splitlines(), end, printed.decode(errors="replace"))


def _read_verdict(lines: list[str], end: str, printed: str) -> Verdict:
    """Lines are what `run_inside` wrote: first all promises and hints, then a problem or null per step."""
    if not lines:
        return Verdict([Step("the file can be imported", end)], [], printed)
    plan = json.loads(lines[0])
    problems = [json.loads(line) for line in lines[1:]]
    missing = len(plan["steps"]) - len(problems)
    problems += [end, *["was not reached"] * (missing - 1)] if missing else []
    steps = [Step(promise, problem) for promise, problem in zip(plan["steps"], problems, strict=True)]
    return Verdict(steps, plan["hints"], printed)


# In the child --------------------------------------------------------------------------------------------------------


def run_inside(test_file: str) -> None:
    """Run the steps of *test_file* here, and write a line about each as soon as it is known."""
    out = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what the learner's code prints must not mix with our lines
        try:
            module = _load(Path(test_file))
        except BaseException as error:  # noqa: BLE001 - whatever a file that is being written may raise
            plan = {"steps": ["the file can be imported"], "hints": []}
            print(json.dumps(plan), json.dumps(_explain(error, error.__traceback__)), sep="\n", file=out, flush=True)
            return
        cases = sorted(_flatten(unittest.defaultTestLoader.loadTestsFromModule(module)), key=_line_of)
        plan = {"steps": [_promise_of(case) for case in cases], "hints": list(getattr(module, "HINTS", []))}
        print(json.dumps(plan), file=out, flush=True)
        for case in cases:
            result = _FirstProblem()
            unittest.TestSuite([case]).run(result)
            print(json.dumps(result.problem), file=out, flush=True)


class _FirstProblem(unittest.TestResult):
    problem: str | None = None

    def _note(self, error: "OptExcInfo") -> None:
        if self.problem is None and error[1] is not None:
            self.problem = _explain(error[1], error[2])

    def addError(self, test: unittest.TestCase, err: "OptExcInfo") -> None:  # noqa: N802 - unittest's name
        self._note(err)

    addFailure = addError  # noqa: N815 - unittest's name

    def addSubTest(  # noqa: N802 - unittest's name
        self, test: unittest.TestCase, subtest: unittest.TestCase, err: "OptExcInfo | None"
    ) -> None:
        if err is not None and self.problem is None:
            self._note(err)
            self.problem = f"with {str(subtest).removeprefix(str(test)).strip()}: {self.problem}"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _flatten(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for entry in suite:
        if isinstance(entry, unittest.TestSuite):
            yield from _flatten(entry)
        else:
            yield entry


def _line_of(case: unittest.TestCase) -> int:
    method = inspect.unwrap(getattr(type(case), case.id().rpartition(".")[2]))
    return inspect.getsourcelines(method)[1]


def _promise_of(case: unittest.TestCase) -> str:
    name = case.id().rpartition(".")[2]
    return (case.shortDescription() or name.removeprefix("test_").replace("_", " ")).rstrip(".")


def _explain(error: BaseException, trace: TracebackType | None) -> str:
    """Say what was raised, and the last line of the learner's file that was on the way there."""
    if isinstance(error, AssertionError):
        text = str(error).partition("\n")[0] or "the assertion does not hold"  # what follows is a long comparison
    else:
        text = "".join(traceback.format_exception_only(error)).strip()
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(trace)]
    places = [line for path, line in frames if path.parent == Path.cwd() and not path.name.startswith("test_")]
    short = text if len(text) <= MESSAGE_LIMIT else f"{text[:MESSAGE_LIMIT]} ..."
    return f"{short} (line {places[-1]} of your file)" if places else short


# What the learner reads ----------------------------------------------------------------------------------------------


def _check_all(exercises: list[Exercise], *, solution: bool) -> Iterator[tuple[Exercise, Verdict]]:
    """Threads only wait here; the work is done by the processes that they wait for."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from zip(exercises, pool.map(lambda one: check(one, solution=solution), exercises), strict=True)


def _print_verdict(exercise: Exercise, verdict: Verdict, *, solution: bool) -> None:
    file = os.path.relpath(exercise.file(solution=solution))
    print(f"{_box(verdict.is_solved)} {exercise.slug}: {verdict.passed} of {len(verdict.steps)} steps, {file}")
    explained = False  # one thing at a time: only the first failure is told in full
    for step in verdict.steps:
        print(f"    {_box(step.problem is None)} {step.promise}")
        if step.problem is not None and not explained:
            explained = True
            print("        " + step.problem.replace("\n", "\n        "))
    if verdict.hint is not None:
        print(f"    Hint: {verdict.hint}")
    if verdict.printed.strip() and not verdict.is_solved:
        print("    It printed:\n      " + verdict.printed.strip().replace("\n", "\n      "))
    print()


def _list_all(*, solution: bool) -> None:
    exercises = list_exercises()
    solved, guide = 0, ""
    for exercise, verdict in _check_all(exercises, solution=solution):
        if exercise.guide != guide:
            guide = exercise.guide
            print(f"{title_of(guide)}    (check {guide})")
        solved += verdict.is_solved
        print(f"  {_box(verdict.is_solved)} {exercise.slug}: {verdict.passed} of {len(verdict.steps)} steps")
    print(f"{solved} of {len(exercises)} solved.")


def _box(done: bool) -> str:
    return "[x]" if done else "[ ]"
