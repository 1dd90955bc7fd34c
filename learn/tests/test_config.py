"""Settings: where they come from, and what happens to a typing mistake."""

import os
from dataclasses import fields
from pathlib import Path

import pytest

from taskflow_learn.config import HOME, LESSONS, Settings, environment, load_settings, parse_dotenv
from taskflow_learn.errors import SettingsError


@pytest.mark.covers("S1-4")
def test_dotenv_lines() -> None:
    text = "# comment\n\n  A = 1 \nB=x=y==\nnonsense\n #C=3\nEMPTY=\r\n"
    assert parse_dotenv(text) == {"A": "1", "B": "x=y==", "EMPTY": ""}


@pytest.mark.covers("S1-4")
def test_dotenv_wins_over_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ADMIN_TOKEN=from-file\n")
    assert environment({"ADMIN_TOKEN": "from-shell", "X": "1"}, tmp_path / ".env") == {
        "ADMIN_TOKEN": "from-file",
        "X": "1",
    }


@pytest.mark.covers("S1-4")
def test_without_dotenv_the_example_is_a_fallback_only() -> None:
    values = environment({"USER_TOKEN": "mine"}, None)
    assert values["ADMIN_TOKEN"] == "secret-admin-123"
    assert values["USER_TOKEN"] == "mine"


@pytest.mark.covers("S1-5", "S1-3")
def test_defaults() -> None:
    settings = load_settings({})
    assert settings.port == 3000
    assert settings.worker_pool_size == max(1, min((os.cpu_count() or 1) - 1, 4))
    assert (settings.worker_queue_limit, settings.worker_job_timeout_ms) == (100, 30_000)
    assert (settings.report_pool_size, settings.report_queue_limit, settings.report_job_timeout_ms) == (2, 50, 60_000)
    assert (settings.memory_request_history_limit, settings.memory_event_history_limit) == (500, 500)
    assert (settings.memory_safe_cache_limit, settings.memory_leak_batch_limit) == (100, 100)
    assert settings.memory_cleanup_interval_ms == 60_000


NUMBERS = [entry for entry in fields(Settings) if entry.metadata]


@pytest.mark.covers("S1-5")
@pytest.mark.parametrize("entry", NUMBERS, ids=lambda entry: entry.metadata["env"])
def test_every_number_is_read_and_bounded(entry: object) -> None:
    metadata, name = entry.metadata, entry.name  # type: ignore[attr-defined]
    env, low, high = metadata["env"], metadata["low"], metadata["high"]
    assert getattr(load_settings({env: f" {high} "}), name) == high
    assert getattr(load_settings({env: str(low)}), name) == low
    for wrong in (str(low - 1), str(high + 1), "", "many", "1e3", "٣"):
        with pytest.raises(SettingsError, match=rf"{env} must be a whole number from {low} to {high}"):
            load_settings({env: wrong})


def test_lessons_that_hurt_are_off_where_others_can_reach_them() -> None:
    assert load_settings({}).lessons == LESSONS
    assert load_settings({"HOST": "0.0.0.0"}).lessons == frozenset()
    assert load_settings({"HOST": "0.0.0.0", "LESSONS": "leak"}).lessons == {"leak"}
    assert load_settings({"LESSONS": ""}).lessons == frozenset()
    with pytest.raises(SettingsError, match="LESSONS may name blocking, leak"):
        load_settings({"LESSONS": "fire"})


def test_two_roles_may_not_share_a_token() -> None:
    with pytest.raises(SettingsError, match="must differ"):
        load_settings({"ADMIN_TOKEN": "same", "USER_TOKEN": "same"})


@pytest.mark.covers("S1-1", "S1-4")
def test_the_example_names_the_documented_tokens() -> None:
    settings = load_settings(parse_dotenv((HOME / ".env.example").read_text()))
    assert settings.admin_token == "secret-admin-123"
    assert settings.user_token == "secret-user-123"
