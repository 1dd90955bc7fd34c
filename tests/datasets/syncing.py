"""
The child process that a sync runs in, for tests of it.

    python -m tests.datasets.syncing FD
"""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from taskflow.adapters.fetch import Fetcher
from taskflow.datasets import service
from taskflow.datasets.service import Datasets
from taskflow.db.pool import Database
from taskflow.engine.isolation.child import ChildProcess
from taskflow.engine.isolation.limits import die_with_parent
from taskflow.engine.isolation.process import ChildCommand
from taskflow.engine.registry import Registry
from taskflow.handlers import sync

ROOT = Path(__file__).parents[2]


def command(url: str) -> ChildCommand:
    """Return how to start it; the limits of `datasets.service` are there as they are here."""
    environ = {
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "PATH": os.environ["PATH"],
        "DATABASE": url,
        "MAX_DATASETS": str(service.MAX_DATASETS),
    }
    return ChildCommand([sys.executable, "-m", "tests.datasets.syncing"], environ)


def registry_of(database: Database) -> Registry:
    registry = Registry()
    sync.register(registry, Datasets(database), Fetcher(allow_loopback=True), retries=0, timeout_s=20.0)
    return registry


def main() -> None:
    die_with_parent()
    service.MAX_DATASETS = int(os.environ["MAX_DATASETS"])
    database = Database(os.environ["DATABASE"], max_size=2)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Mapping[str, Any]]:
        await database.start()
        try:
            yield {}
        finally:
            await database.stop()

    ChildProcess(int(sys.argv[1]), registry_of(database), lifespan).run()


if __name__ == "__main__":
    main()
