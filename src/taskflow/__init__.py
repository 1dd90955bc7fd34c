"""
TaskFlow: one durable place for work, done by people and by machines.

    from taskflow import TaskFlow

The names of the SDK are loaded when they are first asked for.
"""

from importlib import import_module as _import_module
from importlib import metadata as _metadata
from typing import TYPE_CHECKING as _TYPE_CHECKING

__version__ = "0.1.0"

if _TYPE_CHECKING:
    from taskflow.apps.client import *  # noqa: F403 -- what it names in __all__, and no more


def _refuse_namesake() -> None:
    """OpenStack publishes a distribution and package of the same import name; mixing the two breaks both."""
    try:
        namesake = _metadata.distribution("taskflow")
    except _metadata.PackageNotFoundError:
        return
    raise ImportError(
        f"distribution 'taskflow' {namesake.version} (OpenStack) is installed here and owns the same import name; "
        "uninstall it or use another virtual environment for taskflow-server"
    )


_refuse_namesake()


def __getattr__(name: str) -> object:
    if not name.startswith("_"):
        client = _import_module("taskflow.apps.client")
        if name in client.__all__:
            return getattr(client, name)
    raise AttributeError(f"module 'taskflow' has no attribute {name!r}")
