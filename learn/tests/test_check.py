"""The checker of exercises: what a learner reads, whatever their code does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from taskflow_learn import check as checker
from taskflow_learn.check import Exercise, check, main

TEST = '''
import unittest
from double import double

HINTS = ["multiply", "what is twice nothing?"]

class Double(unittest.TestCase):
    def test_two(self):
        """Twice two is four."""
        self.assertEqual(double(2), 4)

    def test_nothing(self):
        """Twice nothing is nothing."""
        for value in (0, -0):
            with self.subTest(value=value):
                self.assertEqual(double(value), 0)
'''

Write = Callable[[str], Exercise]

pytestmark = [pytest.mark.covers("S1-71"), pytest.mark.slow]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Make an exercise of a guide 42 whose file holds the given text."""
    folder = tmp_path / "42"
    (folder / "solutions").mkdir(parents=True)
    (folder / "test_double.py").write_text(TEST)
    (folder / "solutions" / "double.py").write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.setattr(checker, "EXERCISES", tmp_path)

    def make(text: str) -> Exercise:
        (folder / "double.py").write_text(text)
        return Exercise("42", "double")

    return make


def test_a_solved_exercise_ends_with_zero(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("def double(x):\n    return x + x\n")
    assert main(["42"]) == 0
    printed = capsys.readouterr().out
    assert "[x] double: 2 of 2 steps" in printed
    assert "Hint" not in printed
    assert printed.endswith("1 of 1 solved.\n")


def test_the_first_failing_step_is_explained_with_its_hint(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("def double(x):\n    print('called with', x)\n    return 4\n")
    assert main(["42"]) == 1
    printed = capsys.readouterr().out
    assert "[x] Twice two is four\n" in printed
    assert "[ ] Twice nothing is nothing\n        with (value=0): 4 != 0" in printed
    assert "Hint: what is twice nothing?" in printed
    assert "called with 2" in printed


def test_the_solution_is_checked_on_demand(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    exercise = write("def double(x):\n    return 4\n")
    assert main(["42", "--solution"]) == 0
    assert (check(exercise).passed, check(exercise, solution=True).is_solved) == (1, True)
    assert "solutions" in capsys.readouterr().out


def test_an_exception_is_told_with_the_line_of_the_learner(write: Write) -> None:
    verdict = check(write("def double(x):\n    return y\n"))
    assert verdict.steps[0].problem == "NameError: name 'y' is not defined (line 2 of your file)"


@pytest.mark.parametrize("text", ["def double(x)\n", "raise SystemExit\n", "from nowhere import x\n", ""])
def test_a_file_that_cannot_be_imported_is_one_failing_step(write: Write, text: str) -> None:
    verdict = check(write(text))
    assert [step.promise for step in verdict.steps] == ["the file can be imported"]
    assert not verdict.is_solved


def test_a_loop_that_never_ends_is_ended(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "TIME_LIMIT_S", 2.0)
    verdict = check(write("def double(x):\n    while not x:\n        pass\n    return 4\n"))
    assert verdict.passed == 1
    assert verdict.steps[1].problem == "was not done after 2 s: is there a loop that never ends?"


def test_code_that_ends_the_process_fails_the_step(write: Write) -> None:
    verdict = check(write("import os\n\ndef double(x):\n    os._exit(3)\n"))
    assert [step.problem for step in verdict.steps] == ["the process ended here, with exit code 3", "was not reached"]


def test_all_exercises_are_listed_with_their_state(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("def double(x):\n    return 4\n")
    assert main([]) == 0
    assert "[ ] double: 1 of 2 steps\n0 of 1 solved.\n" in capsys.readouterr().out


def test_a_guide_without_exercises_is_refused_by_name(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("")
    assert main(["99"]) == 2
    assert "guide '99' has no exercises; those that do: 42" in capsys.readouterr().err
