"""Running a built-in kind's handler on a real database, as its child process does."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

import msgspec
from tests.support.sink import Notes

from taskflow import kinds
from taskflow.adapters.blobs import DatabaseBlobs
from taskflow.db.pool import Database
from taskflow.engine.job import DEFAULT_NAMESPACE, Claim, JobId, LeaseId
from taskflow.engine.registry import JobContext, Registry
from taskflow.files.repository import File
from taskflow.files.service import Files


class Bench:
    """Handlers, and the files that they read and make."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.files = Files(database, DatabaseBlobs(database))
        self.registry = Registry()

    async def put(self, content: bytes, name: str = "source.bin", *, namespace: UUID = DEFAULT_NAMESPACE) -> str:
        """Upload a file; return its id."""
        with self.files.spool() as spool:
            await spool.write(content)
            await spool.finish()
            return str((await self.files.keep(spool, namespace=namespace, name=name)).id)

    async def run(self, name: str, payload: Mapping[str, Any], *, job_id: UUID | None = None) -> dict[str, Any]:
        """Run a job to its end; return its result as the API shows it."""
        kind = self.registry[name]
        text = msgspec.json.encode(payload).decode()
        claim = Claim(
            lease_id=LeaseId(uuid4()),
            lease_size=1,
            position=0,
            job_id=JobId(job_id or uuid4()),
            attempt=1,
            failures=0,
            namespace=DEFAULT_NAMESPACE,
            kind=name,
            queue=kinds.QUEUE,
            priority=5,
            payload=text,
            retries=3,
            timeout_s=30.0,
            headers={},
            queue_wait_s=0.0,
        )
        result = await kind.handler(JobContext(claim, MappingProxyType({}), Notes()), kind.decode(text))
        shown: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(result))
        return shown

    async def made(self, file_id: str) -> tuple[File, bytes]:
        """Return a file and its content."""
        file = await self.files.get_file(UUID(file_id), namespace=DEFAULT_NAMESPACE)
        return file, await self.files.read(file, limit_bytes=file.size)
