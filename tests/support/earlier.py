"""
The code of an earlier commit, out of this repository's history, run by this environment: what an upgrade begins with.

Its dependencies are taken to be today's. Where they are not and it does not start, the test fails and says so.
"""

import io
import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.up import Up

ROOT = Path(__file__).parents[2]
MIGRATIONS = "src/taskflow/db/migrations/sql"
COMMENT = re.compile(r"--.*$", re.MULTILINE)


class NoHistory(Exception):
    """The commit cannot be had from this checkout; says why."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A commit's code, unpacked in *place*."""

    commit: str
    place: Path

    @classmethod
    def unpack(cls, commit: str, place: Path) -> "Earlier":
        archive = _git("archive", commit, "src", "requirements.txt")
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(place, filter="data")
        return cls(commit, place)

    @property
    def source(self) -> Path:
        return self.place / "src"

    @property
    def environ(self) -> dict[str, str]:
        """What lets `python -m taskflow` be this code."""
        return {"PYTHONPATH": str(self.source)}

    def wait_ready(self, up: Up) -> Up:
        """Wait until a process of this code is ready."""
        try:
            return up.wait_ready()
        except AssertionError as error:
            locked = (self.place / "requirements.txt").read_text() == (ROOT / "requirements.txt").read_text()
            why = "" if locked else " (its requirements.txt is not today's)"
            raise AssertionError(
                f"the code of {self.commit} does not start in this environment{why}: {error}"
            ) from None


def names_of_migrations() -> list[str]:
    """The files of this code, oldest first."""
    return sorted(path.name for path in (ROOT / MIGRATIONS).glob("*.sql"))


def commit_before(migration: str) -> str:
    """Return the commit just before *migration* came in. Raises NoHistory."""
    added = commit_with(migration)
    if added is None:
        return _text("rev-parse", "HEAD")
    try:
        return _text("rev-parse", "--verify", "--quiet", f"{added}^1")
    except NoHistory:
        raise NoHistory(f"the history does not go back to before {migration}: git fetch --unshallow") from None


def commit_with(migration: str) -> str | None:
    """Return the commit of the main line that brought *migration* in; None if it is new here. Raises NoHistory."""
    if Path(_text("rev-parse", "--show-toplevel")).resolve() != ROOT:
        raise NoHistory("this is no git checkout")
    line = ("log", "--first-parent", "-m", "-1", "--format=%H")
    return _text(*line, "--diff-filter=A", "--", f"{MIGRATIONS}/{migration}") or None


def statements_at(commit: str, migration: str) -> str:
    """Return what the file of *migration* did in that commit. Raises NoHistory if it was not there."""
    return _statements(_text("show", f"{commit}:{MIGRATIONS}/{migration}"))


def statements_now(migration: str) -> str:
    return _statements((ROOT / MIGRATIONS / migration).read_text())


def _statements(text: str) -> str:
    """The words without comments, which may be put right later."""
    return " ".join(COMMENT.sub("", text).split())


def _text(*words: str) -> str:
    return _git(*words).decode().strip()


def _git(*words: str) -> bytes:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        raise NoHistory("there is no git here") from None
    if done.returncode:
        raise NoHistory(done.stderr.decode(errors="replace").strip() or f"git {words[0]} found nothing")
    return done.stdout
