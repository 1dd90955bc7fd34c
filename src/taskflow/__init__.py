"""
TaskFlow: one durable place for work, done by people and by machines.

    from taskflow import TaskFlow

The names of the SDK are loaded when they are first asked for.
"""

import os as _os
import sys as _sys
from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

__version__ = "0.1.0"

if _TYPE_CHECKING:
    from taskflow.apps.client import *  # noqa: F403 -- what it names in __all__, and no more


def _refuse_namesake() -> None:
    """OpenStack publishes a distribution and package of the same import name; mixing the two breaks both."""
    if not any(_may_hold_namesake(folder) for folder in _sys.path):
        return  # without `importlib.metadata`, which takes longer to load than all the rest
    from importlib import metadata

    try:
        namesake = metadata.distribution("taskflow")
    except metadata.PackageNotFoundError:
        return
    raise ImportError(
        f"distribution 'taskflow' {namesake.version} (OpenStack) is installed here and owns the same import name; "
        "uninstall it or use another virtual environment for taskflow-server"
    )


def _may_hold_namesake(folder: str) -> bool:
    try:
        with _os.scandir(folder or ".") as entries:
            names = [entry.name for entry in entries]
    except OSError:  # an archive, or not there
        return False
    return any(name.lower().startswith(("taskflow-", "taskflow.")) for name in names)


_refuse_namesake()


def __getattr__(name: str) -> object:
    if not name.startswith("_"):
        client = _import_module("taskflow.apps.client")
        if name in client.__all__:
            return getattr(client, name)
    raise AttributeError(f"module 'taskflow' has no attribute {name!r}")
