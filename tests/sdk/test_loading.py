"""An app by its name, and one clear line for each thing that can be wrong about it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskflow import SetupError
from taskflow.apps.sdk.loading import load_app

MODULES = {
    "good_jobs": "from taskflow import TaskFlow\napp = TaskFlow()\nHERE = 5\n@app.job()\ndef noop() -> None: ...\n",
    "broken_jobs": "1 / 0\n",
    "needy_jobs": "import missing_dependency\n",
    "idle_jobs": "from taskflow import TaskFlow\napp = TaskFlow()\n",
    "mixed_jobs": "from taskflow import TaskFlow\napp = TaskFlow()\n"
    "@app.before_attempt\nasync def hook(ctx): ...\n@app.job()\ndef plain() -> None: ...\n",
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name, None)


def test_an_app_is_found_in_the_working_directory(shop: Path) -> None:
    assert list(load_app("good_jobs:app").jobs) == ["noop"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("jobs", "--app must be MODULE:NAME, such as shop.jobs:app, got 'jobs'"),
        ("nothing:app", "--app nothing:app: there is no module 'nothing' here"),
        ("good_jobs:nothing", "--app good_jobs:nothing: module 'good_jobs' has no 'nothing'; it has app"),
        ("good_jobs:HERE", "--app good_jobs:HERE: 'HERE' is a int, not a TaskFlow"),
        (
            "broken_jobs:app",
            "--app broken_jobs:app: importing it failed: ZeroDivisionError: division by zero (broken_jobs.py, line 1)",
        ),
        (
            "needy_jobs:app",
            "--app needy_jobs:app: importing it failed: ModuleNotFoundError: No module named 'missing_dependency'",
        ),
        ("idle_jobs:app", "the app has no jobs; declare one with @app.job"),
        ("mixed_jobs:app", "job 'plain' is a plain function and cannot await the hook 'hook'"),
    ],
)
def test_a_wrong_app_gets_one_clear_line(shop: Path, name: str, words: str) -> None:
    with pytest.raises(SetupError) as caught:
        load_app(name)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)
