"""The documentation is held to the code: what exists is in its page, and what is in a page exists."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskflow.apps.settings import SETTINGS
from tests.support import reference
from tests.support.reference import REFERENCE, ROOT

OWN = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/**/*.md", "benchmarks/method.md"]
MAX_WIDTH = 120

LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def tracked(*patterns: str) -> list[Path]:
    """Return the files of the repository, new ones too, that match one of *patterns*."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    paths = [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]
    return [ROOT / path for path in paths if any(path.match(pattern) for pattern in patterns)]


def ours() -> list[Path]:
    """Return the pages of the product."""
    return [path for pattern in OWN for path in sorted(ROOT.glob(pattern))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", sorted(REFERENCE.glob("*.md")), ids=name_of)
def test_what_a_reference_page_takes_from_the_code_is_current(path: Path) -> None:
    assert path.read_text() == reference.with_blocks(path.read_text()), "run python -m tests.contracts.refresh"


def test_every_block_is_in_one_page() -> None:
    begun = [name for path in ours() for name in re.findall(r"<!-- begin (\S+):", path.read_text())]
    assert sorted(begun) == sorted(reference.BLOCKS)


@pytest.mark.slow
def test_every_error_code_is_described_and_no_other() -> None:
    problems, _, rest = (REFERENCE / "errors.md").read_text().partition("## Codes of fields")
    fields = rest.partition("## Why")[0]
    _, _, problems = problems.partition("## Codes\n")
    assert names_described(problems) == reference.problem_codes()
    assert names_described(fields) == reference.field_codes()
    described = re.findall(r"^- `\w+` \(\d+\)", problems, re.MULTILINE)
    assert len(described) == len(set(described)), "a code is described twice"


def names_described(text: str) -> set[str]:
    """Return the names that list items are about, and those of a line that begins with "Defined, but"."""
    found: set[str] = set()
    for line in text.splitlines():
        if line.startswith("- `"):
            head = re.split(r"[:(]", line, maxsplit=1)[0]
            found |= set(re.findall(r"`(\w+)`", head))
        elif line.startswith("Defined, but"):
            found |= set(re.findall(r"`(\w+)`", line))
    return found


def test_the_statuses_in_the_errors_page_are_those_that_routes_answer_with() -> None:
    """405 comes from routing and 431 from the server below it, so no route of the document names them."""
    text = (REFERENCE / "errors.md").read_text()
    statuses = {int(status) for status in re.findall(r"^- `\w+` \((\d{3})\)", text, re.MULTILINE)}
    known = {
        int(status)
        for path in reference.openapi()["paths"].values()
        for operation in path.values()
        for status in operation["responses"]
        if int(status) >= 400
    }
    assert statuses == known | {405, 431}


@pytest.mark.parametrize("path", tracked("*.md"), ids=name_of)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    missing = []
    for target in LINK.findall(without_code(path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        if not linked.exists() or (anchor and anchor not in anchors_of(linked)):
            missing.append(target)
    assert not missing


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors_of(path: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", ours(), ids=name_of)
def test_no_line_is_wider_than_a_terminal(path: Path) -> None:
    """Tables may be: a row cannot be broken."""
    lines = FENCE.sub("", path.read_text()).splitlines()
    assert [line for line in lines if len(line) > MAX_WIDTH and not line.startswith("|")] == []


@pytest.mark.parametrize("path", ours(), ids=name_of)
def test_shell_samples_are_shell(path: Path) -> None:
    for sample in samples(path, "sh"):
        done = subprocess.run(["bash", "-n"], input=sample, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stderr}\n{sample}"


@pytest.mark.parametrize("path", ours(), ids=name_of)
def test_commands_and_options_in_samples_exist(path: Path) -> None:
    """`taskflow …` in a shell sample names a command and options that there are; so does `make …`."""
    known = dict(reference.commands())
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for sample in samples(path, "sh"):
        for line in sample.replace("\\\n", " ").splitlines():
            words = [word for word in line.partition(" #")[0].split() if word != "-"]
            for index, word in enumerate(words):
                rest = words[index + 1 :]
                if word == "make":
                    assert not rest or rest[0] in targets or "=" in rest[0], line
                before = words[index - 1] if index else "|"
                if re.fullmatch(r"(\.venv/bin/)?taskflow", word) and ("=" in before or before in {"|", "xargs"}):
                    check_command(known, rest, line)


def check_command(known: dict[str, list[str]], words: list[str], line: str) -> None:
    path = "taskflow"
    while words and f"{path} {words[0]}" in known:
        path = f"{path} {words.pop(0)}"
    assert path != "taskflow" or not words or words[0].startswith("-"), line
    words = words[: words.index("|")] if "|" in words else words
    options = [word.partition("=")[0].rstrip(")") for word in words if word.startswith("-")]
    assert [option for option in options if option not in [*known[path], "--help", "-h"]] == [], line


def samples(path: Path, language: str) -> Iterator[str]:
    return (body for _, name, body in FENCE.findall(path.read_text()) if name == language)


@pytest.mark.parametrize("path", ours(), ids=name_of)
def test_settings_and_metrics_named_in_prose_exist(path: Path) -> None:
    text = path.read_text()
    settings = {name for setting in SETTINGS for name in setting.names} | {"TASKFLOW_TEST_POSTGRES"}
    assert set(re.findall(r"\bTASKFLOW_[A-Z_]*[A-Z]\b", text)) - settings - {"TASKFLOW_X"} == set()
    metrics = {family.name for family in reference.families()}
    named = set(re.findall(r"\btaskflow_[a-z_]*[a-z]\b", text)) - {"taskflow_wake", "taskflow_cancel"}
    assert {name for name in named if name not in metrics and not name.startswith("taskflow_queue")} <= {
        "taskflow_learn"
    }


def test_every_setting_has_a_name_of_ours_first() -> None:
    assert [setting.names for setting in SETTINGS if not setting.names[0].startswith("TASKFLOW_")] == []
