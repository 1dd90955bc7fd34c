"""The guides cannot lie: their samples and commands run, their exercises can be solved, their links lead somewhere."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sync_samples import GUIDES, LEARN, Command, Page, list_pages, with_samples
from taskflow_learn.check import Exercise, check, list_exercises

ROOT = LEARN.parent
PAGES = list_pages()
GUIDE_PAGES = [page for page in PAGES if page.path.name != "README.md"]
NUMBERED = [page for page in GUIDE_PAGES if page.path.name[:2].isdigit()]
SAMPLES = sorted(path.relative_to(LEARN).as_posix() for path in (LEARN / "samples").glob("*/*.py"))
EXERCISES = list_exercises()
RUN_BY_PAGES = " ".join(command.text for page in PAGES for command in page.commands)
TIME_LIMIT_S = 20  # of one command; far above what any needs, for a machine that is busy

SECTIONS = [
    "The need",
    "The smallest program that fails",
    "The fix",
    "What it costs",
    "Where it stands in the code",
    "Common mistakes",
    "What production systems do",
    "Your turn",
    "Troubleshooting",
]
DEEP_DIVE_SECTIONS = ["The need", "Common mistakes", "What production systems do", "Your turn", "Troubleshooting"]
SAMPLE_LINES = 25
WORDS_PER_MINUTE = 200
MINUTES = (14, 26)

pytestmark = [pytest.mark.covers("S1-70")]


def _name_of(value: object) -> str:
    if isinstance(value, Page):
        return value.path.stem
    if isinstance(value, Exercise):
        return f"{value.guide}-{value.slug}"
    return str(value)


@pytest.mark.parametrize("page", GUIDE_PAGES, ids=_name_of)
def test_a_page_shows_its_samples_as_they_are(page: Page) -> None:
    assert page.samples, "a guide without a sample is a lecture"
    assert with_samples(page.text) == page.text, "run: python3 learn/tests/sync_samples.py"


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_is_short_standard_library_and_shown(sample: str) -> None:
    text = (LEARN / sample).read_text(encoding="utf-8")
    assert text.count("\n") <= SAMPLE_LINES
    assert _imports(text) <= set(sys.stdlib_module_names)
    assert any(name == sample for page in PAGES for name, _ in page.samples), "no page shows it"


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize(
    "sample", [name for name in SAMPLES if not any(name in page.text for page in PAGES)] or SAMPLES
)
def test_a_sample_runs_alone(sample: str) -> None:
    """Those that a page runs are run there, and compared with what the page says they print."""
    if any(f"learn/{sample}" in command.text for page in PAGES for command in page.commands):
        return
    run = _run(f"python3 learn/{sample}{' --once' if '--once' in (LEARN / sample).read_text() else ''}")
    assert run.returncode == 0, run.stdout


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize("page", [page for page in PAGES if page.commands], ids=_name_of)
def test_the_commands_of_a_page_print_what_it_shows(page: Page) -> None:
    with _server() if page.needs_server else _nothing() as port:
        for command in page.commands:
            _check_command(page, command, port)


@pytest.mark.parametrize("exercise", EXERCISES, ids=_name_of)
@pytest.mark.covers("S1-71")
def test_an_exercise_fails_before_and_passes_with_its_solution(exercise: Exercise) -> None:
    solved = check(exercise, solution=True)
    assert solved.is_solved, solved
    assert len(solved.hints) == len(solved.steps), "a hint per step"
    if _is_edited(exercise.file()):
        pytest.skip("a learner is at work on it")
    assert not check(exercise).is_solved, "there is nothing to do"


@pytest.mark.parametrize("exercise", EXERCISES, ids=_name_of)
def test_an_exercise_is_explained_in_its_guide(exercise: Exercise) -> None:
    assert exercise.slug not in sys.stdlib_module_names, "it would hide a module of the standard library"
    page = next(page for page in GUIDE_PAGES if page.path.name.startswith(exercise.guide))
    assert f"exercises/{exercise.guide}/{exercise.slug}.py" in page.text
    assert f"check {exercise.guide}" in page.text


@pytest.mark.parametrize("page", PAGES, ids=_name_of)
def test_links_lead_somewhere(page: Page) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.prose):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.path.parent / name).resolve() if name else page.path
        assert path.exists(), f"{target} does not exist"
        assert path.is_relative_to(ROOT), f"{target} leaves the repository"
        if anchor:
            assert anchor in _anchors(path.read_text(encoding="utf-8")), f"{target}: no such heading"


@pytest.mark.parametrize("page", GUIDE_PAGES, ids=_name_of)
def test_a_guide_has_its_sections_in_order(page: Page) -> None:
    headings = re.findall(r"^## (.+)$", page.prose, re.MULTILINE)
    wanted = SECTIONS if page in NUMBERED else DEEP_DIVE_SECTIONS
    assert [heading for heading in headings if heading in wanted] == wanted


@pytest.mark.parametrize("page", GUIDE_PAGES, ids=_name_of)
def test_a_guide_takes_about_twenty_minutes(page: Page) -> None:
    minutes = len(page.text.split()) / WORDS_PER_MINUTE
    assert MINUTES[0] <= minutes <= MINUTES[1], f"{minutes:.1f} minutes"


def test_the_guides_are_in_the_table_of_contents() -> None:
    contents = (GUIDES / "README.md").read_text(encoding="utf-8")
    for page in GUIDE_PAGES:
        assert f"]({page.path.name})" in contents


def _imports(text: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def _anchors(text: str) -> set[str]:
    """The ids that code hosts give to headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _is_edited(path: Path) -> bool:
    words = ["git", "status", "--porcelain", "--", str(path)]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return listed.stdout[:2].strip() == "M"


def _check_command(page: Page, command: Command, port: int | None) -> None:
    where = f"{page.path.name}:{command.line}: $ {command.text}"
    run = _run(command.text if port is None else command.text.replace("localhost:3000", f"localhost:{port}"))
    printed = run.stdout if port is None else run.stdout.replace(f"localhost:{port}", "localhost:3000")
    assert run.returncode == 0, f"{where} ended with {run.returncode}:\n{printed}"
    assert re.fullmatch(_pattern(command.expected), printed.rstrip()), f"{where} printed:\n{printed}"


def _pattern(expected: list[str]) -> str:
    """`...` alone on a line stands for any lines, inside a line for any characters."""
    pattern = ""
    for number, line in enumerate(expected):
        if line.strip() == "...":
            pattern += r"(\n.*)*" if number else r".*(\n.*)*"
        else:
            pattern += ("\n" if number else "") + ".*".join(re.escape(part) for part in line.rstrip().split("..."))
    return pattern.replace("\n", r"[ \t]*\n")


def _run(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )


def _environment() -> dict[str, str]:
    python = str(Path(sys.executable).parent)  # the `python3` of the pages is the one that runs this test
    path = f"{python}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": "learn/src", "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


@contextmanager
def _server() -> Iterator[int]:
    """A learning server of this page alone, on a free port of this machine."""
    environment = {
        **_environment(),
        "PORT": "0",
        "WORKER_POOL_SIZE": "1",
        "REPORT_POOL_SIZE": "1",
        "LOG_LEVEL": "ERROR",
    }
    words = [sys.executable, "-m", "taskflow_learn"]
    with subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = next(filter(None, (re.search(r"started on .*:(\d+)", line) for line in process.stdout)))
            yield int(found[1])
        finally:
            process.terminate()
            process.wait(10)
