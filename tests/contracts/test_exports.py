"""The names that packages offer, and the name that we share with somebody else."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.reference import SOURCE

# What a package holds besides a docstring is re-exported through `__all__`; these two are something else.
PROGRAMS = {"taskflow", "taskflow.apps.cli"}


def modules() -> Iterator[str]:
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        if "migrations" not in parts and parts[-1] != "__main__":
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def with_all() -> list[str]:
    return [name for name in modules() if hasattr(importlib.import_module(name), "__all__")]


def packages() -> list[str]:
    return [name for name in modules() if hasattr(importlib.import_module(name), "__path__")]


def rank(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, each by name: as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name


@pytest.mark.parametrize("name", with_all())
def test_exported_names_exist_once_and_in_order(name: str) -> None:
    module = importlib.import_module(name)
    exported = list(module.__all__)
    assert exported == sorted(set(exported), key=rank)
    assert [item for item in exported if not hasattr(module, item)] == []


@pytest.mark.parametrize("name", packages())
def test_a_package_exports_all_that_can_be_imported_from_it_and_nothing_else(name: str) -> None:
    package = importlib.import_module(name)
    if name in PROGRAMS:
        return
    tree = ast.parse(Path(str(package.__file__)).read_text())
    if all(isinstance(node, ast.Expr) for node in tree.body):  # a docstring, or nothing
        assert not hasattr(package, "__all__")
        return
    assert set(package.__all__) == set(importable(package))


def importable(package: ModuleType) -> Iterator[str]:
    """Yield the public names of ours in *package*: no modules, nothing of the standard library."""
    for name, value in vars(package).items():
        origin = getattr(value, "__module__", None) or "taskflow"
        if not name.startswith("_") and not isinstance(value, ModuleType) and origin.startswith("taskflow"):
            yield name


def test_the_engine_is_usable_by_its_exported_names_alone() -> None:
    """What the engine's docstring shows can be written with names from `taskflow.engine` and `taskflow.db.pool`."""
    engine = importlib.import_module("taskflow.engine")
    assert {"Engine", "NewJob", "Registry", "Worker"} <= set(engine.__all__)


@pytest.mark.slow
def test_an_installed_namesake_is_refused_by_name(tmp_path: Path) -> None:
    """OpenStack's distribution `taskflow` has the same import name: one clear sentence instead of strange errors."""
    info = tmp_path / "taskflow-5.9.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: taskflow\nVersion: 5.9.1\n")
    done = subprocess.run(
        [sys.executable, "-c", "import taskflow"],
        env={"PYTHONPATH": f"{SOURCE.parent}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "distribution 'taskflow' 5.9.1 (OpenStack) is installed here" in last
    assert "taskflow-server" in last
