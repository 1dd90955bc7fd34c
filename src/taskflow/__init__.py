"""TaskFlow: one durable place for work, done by people and by machines."""

from importlib import metadata as _metadata

__version__ = "0.1.0"


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
