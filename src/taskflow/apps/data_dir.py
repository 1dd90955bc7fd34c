"""
The data directory of `taskflow up`, and how other commands on the same machine find what runs there.

    lock               held (flock) by the running `up`; names its process while it runs
    secret.key         the root secret, 0600, where none is configured
    credentials.json   {"url": …, "apiKey": …}, 0600, rewritten whole at each start
    environment        development or production, as the last `up` ran
    postgres…          the embedded server, see `taskflow.db.embedded`
    mail/              mails as files, where no mail server is configured
"""

import dataclasses
import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taskflow.apps.settings import Environment, Settings
from taskflow.db.embedded import find_running
from taskflow.kernel.errors import SetupError
from taskflow.kernel.files import write_private


class DataDirectory:
    """One data directory. Making the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.postgres = path / "postgres"
        self.credentials = path / "credentials.json"
        self.mail = path / "mail"
        self._lock: int | None = None

    def acquire(self) -> bool:
        """
        Make the directory if need be and take it for this process.

        Returns:
            Whether the last holder went without `release` (it was killed; its children may still be on their way out).

        Raises:
            SetupError: it cannot be written, or another process has it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SetupError(
                f"cannot write to {self.path} ({error.strerror}): choose another directory with --data-dir"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 100).decode(errors="replace").strip()
            os.close(lock)
            raise SetupError(
                f"TaskFlow is already running on {self.path}{f' (process {holder})' if holder else ''}: "
                "use that one, or choose another directory with --data-dir"
            ) from None
        self._lock = lock
        abandoned = bool(os.read(lock, 100).strip())
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise SetupError(f"cannot write {self.path / 'lock'} ({error.strerror})") from error
        return abandoned

    def release(self) -> None:
        """Give the directory back; twice is fine."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.ftruncate(lock, 0)
            os.close(lock)

    def get_secret(self, settings: Settings) -> str:
        """
        Return the root secret: the one configured, else the one kept here, made at the first call.

        Raises:
            SetupError: production on a database of one's own, where every machine must have the same secret.
        """
        if settings.secret_key is not None:
            return settings.secret_key
        if settings.database_url is not None and not settings.is_development:
            raise SetupError(
                "TASKFLOW_SECRET_KEY must be set in production with TASKFLOW_DATABASE_URL: 32 random bytes or more, "
                "the same for every process"
            )
        path = self.path / "secret.key"
        if not path.exists():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(path, f"{secrets.token_urlsafe(48)}\n")
        return path.read_text().strip()

    def read_credentials(self) -> Mapping[str, str]:
        """Return what `up` left: `url` and `apiKey`. Empty if it never ran or the file is damaged."""
        try:
            found = json.loads(self.credentials.read_text())
        except (OSError, ValueError):
            return {}
        return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}

    def write_credentials(self, url: str, api_key: str | None) -> None:
        """Replace the credentials as a whole."""
        found = {"url": url, **({"apiKey": api_key} if api_key else {})}
        self._write(self.credentials, json.dumps(found, indent=2) + "\n")

    def write_environment(self, environment: Environment) -> None:
        """Say what runs here, for workers that join it."""
        self._write(self.path / "environment", f"{environment.value}\n")

    def read_environment(self) -> Environment | None:
        """Return as what the last `up` ran; None if that is not known."""
        try:
            return Environment((self.path / "environment").read_text().strip())
        except (OSError, ValueError):
            return None

    def get_database_url(self) -> str:
        """Return the URL of the embedded database that a running `up` has here. Raises SetupError if there is none."""
        url = find_running(self.postgres)
        if url is None:
            raise SetupError(
                f"no database: start `taskflow up` (none runs on {self.path}; name another directory with "
                "--data-dir or TASKFLOW_DATA_DIR), or set TASKFLOW_DATABASE_URL"
            )
        return url

    def _write(self, path: Path, text: str) -> None:
        try:
            write_private(path, text)
        except OSError as error:
            raise SetupError(f"cannot write {path} ({error.strerror})") from error


def read_settings(**options: Any) -> Settings:
    """
    Read the settings of a process that may join a running `up`.

    Where TASKFLOW_ENV says nothing it is for what that `up` is for: a worker with other rules would end callbacks for
    good that the API had let through. *options* as for `Settings.from_env`, which see for what it raises.
    """
    settings = Settings.from_env(None, **options)
    if settings.database_url is None and not settings.inherited.get("TASKFLOW_ENV"):
        beside = DataDirectory(settings.data_dir).read_environment()
        if beside is not None:
            return Settings.from_env(None, environment=beside.value, **options)
    return settings


def complete(settings: Settings) -> Settings:
    """
    Fill in database and root secret from the data directory where the environment names none.

    Raises:
        SetupError: no `up` runs there, or production on a database of one's own lacks a secret.
    """
    directory = DataDirectory(settings.data_dir)
    url = settings.database_url or directory.get_database_url()
    return dataclasses.replace(settings, database_url=url, secret_key=directory.get_secret(settings))


def find_secret(settings: Settings) -> str | None:
    """Return the root secret that the API of this deployment has; None where nobody has told us."""
    if settings.secret_key is not None:
        return settings.secret_key
    if settings.database_url is not None and not settings.is_development:
        return None  # what is kept here may be another deployment's
    return DataDirectory(settings.data_dir).get_secret(settings)
