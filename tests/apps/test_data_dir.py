"""The data directory: one holder, private files, and what others find in it."""

import os
from pathlib import Path

import pytest

from taskflow.apps.data_dir import DataDirectory, complete, read_settings
from taskflow.apps.settings import Environment, Settings
from taskflow.kernel.errors import SetupError

OWN = {"TASKFLOW_DATABASE_URL": "postgresql://u:p@db/x"}


def settings(data: Path, **environ: str) -> Settings:
    return Settings.from_env({"TASKFLOW_DATA_DIR": str(data), **environ})


def test_it_is_taken_by_one_and_free_after_release(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path / "data"), DataDirectory(tmp_path / "data")
    assert first.acquire() is False
    with pytest.raises(SetupError, match=rf"already running on .* \(process {os.getpid()}\)"):
        second.acquire()
    first.release()
    first.release()
    assert second.acquire() is False
    second.release()


def test_a_holder_that_was_killed_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("12345\n")
    directory = DataDirectory(tmp_path)
    assert directory.acquire() is True
    directory.release()


def test_the_secret_is_made_once_and_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    secret = DataDirectory(data).get_secret(settings(data))
    assert len(secret.encode()) >= 32
    assert DataDirectory(data).get_secret(settings(data)) == secret
    assert (data / "secret.key").stat().st_mode & 0o777 == 0o600


def test_production_on_an_own_database_needs_a_secret_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="TASKFLOW_SECRET_KEY must be set"):
        complete(settings(tmp_path, **OWN))
    assert complete(settings(tmp_path, **OWN, TASKFLOW_ENV="development")).secret_key
    assert complete(settings(tmp_path, **OWN, TASKFLOW_SECRET_KEY="s" * 32)).secret_key == "s" * 32


def test_without_a_database_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"start `taskflow up` .*--data-dir.* or set TASKFLOW_DATABASE_URL"):
        complete(settings(tmp_path))


def test_credentials_are_replaced_whole_and_private(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.write_credentials("http://127.0.0.1:1", "tf_a")
    directory.write_credentials("http://127.0.0.1:2", "tf_a")
    assert directory.read_credentials() == {"url": "http://127.0.0.1:2", "apiKey": "tf_a"}
    assert directory.credentials.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["credentials.json"]


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_damaged_credentials_read_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "credentials.json").write_text(text)
    assert DataDirectory(tmp_path).read_credentials() == {}


@pytest.mark.parametrize(
    ("left", "environ", "found"),
    [
        (Environment.DEVELOPMENT, {}, Environment.DEVELOPMENT),
        (Environment.PRODUCTION, {}, Environment.PRODUCTION),
        (Environment.DEVELOPMENT, {"TASKFLOW_ENV": "production"}, Environment.PRODUCTION),
        (Environment.DEVELOPMENT, {"TASKFLOW_DATABASE_URL": "postgresql://h/d"}, Environment.PRODUCTION),
        (None, {}, Environment.PRODUCTION),
    ],
    ids=["development", "production", "the environment says", "another database", "nothing ran here"],
)
def test_who_joins_a_running_up_is_for_what_that_is_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    left: Environment | None,
    environ: dict[str, str],
    found: Environment,
) -> None:
    for name in ("TASKFLOW_ENV", "TASKFLOW_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    if left is not None:
        DataDirectory(tmp_path).write_environment(left)
    monkeypatch.setenv("TASKFLOW_DATA_DIR", str(tmp_path))
    settings = read_settings(worker_concurrency=3)
    assert (settings.environment, settings.worker_concurrency) == (found, 3)


def test_what_cannot_be_written_is_named_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    (tmp_path / "environment").mkdir()  # cannot be replaced by a file, as nothing can on a full disk
    with pytest.raises(SetupError, match=r"cannot write .*/environment \(Is a directory\)"):
        directory.write_environment(Environment.DEVELOPMENT)
    assert [path.name for path in tmp_path.iterdir()] == ["environment"]
