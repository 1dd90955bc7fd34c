"""The built-in kinds, wired to the adapters that the settings name: what a worker process of ours runs."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import taskflow.kinds
from taskflow.adapters.blobs import DatabaseBlobs
from taskflow.adapters.fetch import Fetcher
from taskflow.adapters.mail import FileSender, SmtpSender
from taskflow.apps.data_dir import DataDirectory
from taskflow.apps.settings import Settings
from taskflow.datasets.service import Datasets
from taskflow.db.pool import Database
from taskflow.engine.bulk import Bulk
from taskflow.engine.client import Engine
from taskflow.engine.registry import Registry
from taskflow.files.service import Files
from taskflow.handlers import bulk, email, image, pdf, report, sync, webhook
from taskflow.http.secret import RootSecret


class _Usual(TypedDict):
    """What jobs get that say nothing else."""

    retries: int
    timeout_s: float


class Builtin:
    """
    The registry and what its handlers stand on, which `lifespan` opens and closes.

    Deliveries are signed with the root secret: a process that was not told it leaves them to others.
    """

    def __init__(self, settings: Settings) -> None:
        assert settings.database_url is not None, "given by the supervisor"
        self._database = Database(
            settings.database_url, max_size=2, application_name="taskflow-handlers", patience_s=1.0
        )
        self.registry = Registry()
        sender = (
            SmtpSender(settings.smtp_url, sender=settings.mail_from)
            if settings.smtp_url
            else FileSender(DataDirectory(settings.data_dir).mail, sender=settings.mail_from)
        )
        fetcher = Fetcher(allow_loopback=settings.is_development)
        files = Files(self._database, DatabaseBlobs(self._database))
        self._engine = Engine(self._database)
        usual: _Usual = {"retries": settings.max_retries, "timeout_s": settings.job_timeout_s}
        email.register(self.registry, sender, **usual)
        sync.register(self.registry, Datasets(self._database), fetcher, **usual)
        image.register(self.registry, files, **usual)
        pdf.register(self.registry, files, **usual)
        report.register(self.registry, files, self._engine, **usual)
        bulk.register(self.registry, Bulk(self._database, self._engine), queue=taskflow.kinds.QUEUE)
        if settings.secret_key is not None:
            deliverer = webhook.Deliverer(
                self._database,
                self._engine,
                fetcher,
                RootSecret(settings.secret_key.encode()),
                timeout_s=settings.webhook_timeout_s,
                max_retries=settings.webhook_max_retries,
            )
            webhook.register(self.registry, deliverer)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[Mapping[str, Any]]:
        await self._database.start()
        try:
            async with self._engine:
                yield {}
        finally:
            await self._database.stop()
