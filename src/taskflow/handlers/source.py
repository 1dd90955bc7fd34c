"""Files that handlers read: what cannot be read will not be readable at the next attempt either."""

from dataclasses import dataclass
from uuid import UUID

from taskflow.adapters.blobs import BlobGone
from taskflow.engine.registry import JobContext
from taskflow.files.service import Files
from taskflow.kernel.errors import NotFound, Permanent, TooLarge


@dataclass(frozen=True, slots=True)
class Source:
    """A file's content, and its name without what comes after the last dot."""

    content: bytes
    stem: str


async def read_source(files: Files, ctx: JobContext, file_id: UUID, *, limit_bytes: int) -> Source:
    """Return a file of the job's namespace. Raises Permanent: there is none, or it is over the limit."""
    try:
        file = await files.get_file(file_id, namespace=ctx.namespace)
        content = await files.read(file, limit_bytes=limit_bytes)
    except (NotFound, TooLarge, BlobGone) as error:
        raise Permanent(str(error)) from None
    return Source(content, file.name.rpartition(".")[0] or file.name)
