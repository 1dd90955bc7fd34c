"""Settings: one table, every wrong one named, options over variables over short names."""

from dataclasses import fields
from pathlib import Path

import pytest

from taskflow.apps.settings import RATE_LIMITS, SETTINGS, Environment, Settings, is_loopback
from taskflow.kernel.bucket import NO_LIMIT, Limit
from taskflow.kernel.errors import SetupError

HOME = {"HOME": "/ada"}


@pytest.mark.covers("S2-32", "S2-33", "S2-34", "S2-37")
def test_the_names_and_defaults_of_others_are_taken() -> None:
    plain = Settings.from_env(HOME)
    assert (plain.port, plain.worker_concurrency, plain.job_timeout_s, plain.max_retries) == (3000, 5, 30.0, 3)

    given = {**HOME, "PORT": "3100", "WORKER_CONCURRENCY": "20", "JOB_TIMEOUT_MS": "1500", "MAX_RETRIES": "10"}
    told = Settings.from_env(given)
    assert (told.port, told.worker_concurrency, told.job_timeout_s, told.max_retries) == (3100, 20, 1.5, 10)


def test_an_option_beats_our_variable_which_beats_the_short_name() -> None:
    environ = {**HOME, "PORT": "1", "TASKFLOW_PORT": "2"}
    assert Settings.from_env({**HOME, "PORT": "1"}).port == 1
    assert Settings.from_env(environ).port == 2
    assert Settings.from_env(environ, port=3).port == 3
    assert Settings.from_env(environ, port=None).port == 2


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_env({**HOME, "TASKFLOW_PORT": "", "PORT": "4000"}).port == 4000


def test_jobs_are_kept_for_thirty_days_unless_told_otherwise_and_for_ever_by_0() -> None:
    assert Settings.from_env(HOME).retention_days == 30
    assert Settings.from_env({**HOME, "TASKFLOW_RETENTION_DAYS": "7"}).retention_days == 7
    assert Settings.from_env({**HOME, "TASKFLOW_RETENTION_DAYS": "0"}).retention_days is None
    with pytest.raises(SetupError, match="TASKFLOW_RETENTION_DAYS must be a whole number from 0 to 3650, got 'never'"):
        Settings.from_env({**HOME, "TASKFLOW_RETENTION_DAYS": "never"})


def test_requests_are_limited_in_production_unless_told_otherwise() -> None:
    given = {**HOME, "TASKFLOW_RATE_LIMIT_WRITE": "100:500", "TASKFLOW_RATE_LIMIT_FAILURES": "0"}
    for environment, read in ((Environment.PRODUCTION, Limit(5000, 10_000)), (Environment.DEVELOPMENT, NO_LIMIT)):
        settings = Settings.from_env({**given, "TASKFLOW_ENV": environment.value})
        assert settings.rate_limit_read == read
        assert settings.rate_limit_write == Limit(100, 500)
        assert settings.rate_limit_failures == NO_LIMIT
    local = Settings.from_env(HOME, command="up")
    assert {getattr(local, name) for name in RATE_LIMITS} == {NO_LIMIT}


@pytest.mark.parametrize(
    ("text", "limit"), [("7", Limit(7, 7)), ("0.5", Limit(0.5, 1)), ("2.5:30", Limit(2.5, 30)), ("0", NO_LIMIT)]
)
def test_a_rate_limit_is_a_rate_and_a_burst(text: str, limit: Limit) -> None:
    assert Settings.from_env({**HOME, "TASKFLOW_RATE_LIMIT_READ": text}).rate_limit_read == limit


@pytest.mark.parametrize("text", ["-1", "10:5", "0:5", "1:", ":1", "1:2:3", "nan", "1e3", "2000000", "10/20", "1:2.5"])
def test_a_rate_limit_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SetupError, match="TASKFLOW_RATE_LIMIT_READ must be 0, or RATE or RATE:BURST like 100:500"):
        Settings.from_env({**HOME, "TASKFLOW_RATE_LIMIT_READ": text})


@pytest.mark.covers("S2-31")
def test_a_bare_database_url_is_never_read() -> None:
    assert Settings.from_env({**HOME, "DATABASE_URL": "postgresql://strangers/db"}).database_url is None


@pytest.mark.covers("S3-27", "S4-70")
def test_every_wrong_setting_is_named_at_once() -> None:
    environ = {
        **HOME,
        "MAX_RETRIES": "11",
        "PORT": "http",
        "CORS_ORIGIN": "https://a.example/path",
        "TASKFLOW_ENV": "staging",
        "TASKFLOW_MAIL_FROM": "Ada <ada@example.org>",
    }
    with pytest.raises(SetupError) as caught:
        Settings.from_env(environ, workers=65)
    message = str(caught.value)
    for name in ("MAX_RETRIES", "PORT", "CORS_ORIGIN", "TASKFLOW_ENV", "TASKFLOW_MAIL_FROM", "--workers"):
        assert name in message
    assert "\n" not in message


@pytest.mark.parametrize("good", ["https://tasks.example.org", "http://10.0.0.5:8080", "https://[::1]:8443"])
def test_the_public_url_is_an_origin(good: str) -> None:
    assert Settings.from_env({**HOME, "TASKFLOW_PUBLIC_URL": good}).public_url == good


@pytest.mark.parametrize(
    "bad",
    [
        "tasks.example.org",
        "ftp://tasks.example.org",
        "https://",
        "https://:443",
        "https://a.example/",
        "https://a.example?x=1",
        "https://me@a.example",
        "https://a.example:0",
        "https://a.example:99999",
        "https://a b.example",
        "https://[::1",
    ],
)
def test_a_public_url_that_is_no_origin_is_refused(bad: str) -> None:
    with pytest.raises(SetupError, match="TASKFLOW_PUBLIC_URL must be an origin like https://"):
        Settings.from_env({**HOME, "TASKFLOW_PUBLIC_URL": bad})


def test_a_wrong_secret_is_named_but_not_shown() -> None:
    environ = {**HOME, "TASKFLOW_SECRET_KEY": "hunter2", "TASKFLOW_DATABASE_URL": "mysql://root:letmein@db/x"}
    with pytest.raises(SetupError) as caught:
        Settings.from_env(environ)
    assert "TASKFLOW_SECRET_KEY must have at least 32 bytes" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "letmein" not in str(caught.value)


def test_secrets_are_not_in_the_representation() -> None:
    environ = {**HOME, "TASKFLOW_DATABASE_URL": "postgresql://me:letmein@db/x", "TASKFLOW_SECRET_KEY": "s" * 40}
    shown = repr(Settings.from_env(environ))
    assert "letmein" not in shown
    assert "ssss" not in shown


@pytest.mark.covers("S2-38")
def test_up_on_loopback_is_development_and_everything_else_production() -> None:
    assert Settings.from_env(HOME, command="up").environment is Environment.DEVELOPMENT
    assert Settings.from_env(HOME, command="up", host="0.0.0.0").environment is Environment.PRODUCTION
    assert Settings.from_env(HOME).environment is Environment.PRODUCTION
    assert Settings.from_env({**HOME, "TASKFLOW_ENV": "production"}, command="up").environment is Environment.PRODUCTION


def test_logs_are_text_in_development_and_json_in_production() -> None:
    assert Settings.from_env(HOME, command="up").log_format == "text"
    assert Settings.from_env(HOME).log_format == "json"
    assert Settings.from_env({**HOME, "TASKFLOW_LOG_FORMAT": "text"}).log_format == "text"


def test_the_data_directory_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert Settings.from_env(HOME).data_dir == Path("/ada/.local/share/taskflow")
    assert Settings.from_env({**HOME, "XDG_DATA_HOME": "/data"}).data_dir == Path("/data/taskflow")
    assert Settings.from_env({**HOME, "XDG_DATA_HOME": "relative"}).data_dir == Path("/ada/.local/share/taskflow")
    with pytest.raises(SetupError, match="--data-dir"):
        Settings.from_env({})
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert Settings.from_env({}).data_dir == Path("/var/lib/taskflow")


def test_a_child_reads_the_same_settings_from_the_environment_it_gets() -> None:
    environ = {**HOME, "PORT": "3100", "SMTP_URL": "smtp://mail.example.org", "MAX_RETRIES": "7", "LANG": "C"}
    ours = Settings.from_env(environ, command="up", data_dir=Path("/srv/tf"), queues="a, b", worker_concurrency=9)
    theirs = Settings.from_env(ours.child_environ(database_url="postgresql://u:p@h/d", secret_key="k" * 32))
    assert theirs.database_url == "postgresql://u:p@h/d"
    assert theirs.secret_key == "k" * 32
    changed = {"database_url", "secret_key", "inherited"}
    for field in fields(Settings):
        if field.name not in changed:
            assert getattr(theirs, field.name) == getattr(ours, field.name), field.name
    assert theirs.inherited["LANG"] == "C"


def test_a_child_is_not_told_a_setting_by_any_of_its_names() -> None:
    mail = "smtp://me:hunter2@mail.example.org"
    environ = {**HOME, "TASKFLOW_SMTP_URL": mail, "SMTP_URL": mail, "TASKFLOW_SECRET_KEY": "k" * 40}
    told = Settings.from_env(environ).child_environ(without=["smtp_url", "secret_key"], secret_key="k" * 40)
    assert not {"TASKFLOW_SMTP_URL", "SMTP_URL", "TASKFLOW_SECRET_KEY"} & set(told)


def test_the_table_has_a_row_for_every_field_and_an_explanation_for_every_row() -> None:
    assert {setting.field for setting in SETTINGS} == {field.name for field in fields(Settings)} - {"inherited"}
    names = [name for setting in SETTINGS for name in setting.names]
    assert len(names) == len(set(names))
    for setting in SETTINGS:
        assert setting.names[0].startswith("TASKFLOW_")
        assert len(setting.meaning) > 10


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("db", False)],
)
def test_loopback_is_told_from_the_rest(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
