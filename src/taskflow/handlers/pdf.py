"""The handler of `generate_pdf`."""

import asyncio

from msgspec import UNSET

from taskflow import kinds
from taskflow.adapters import pdf, typesetting
from taskflow.engine.registry import JobContext, Registry
from taskflow.files.service import Files
from taskflow.handlers.forced import ForcedFailure
from taskflow.handlers.source import read_source
from taskflow.kernel.errors import Permanent
from taskflow.kinds.pdf import NAME, PAYLOAD, GeneratePdf, PdfGenerated

MAX_MARKDOWN_BYTES = 1024 * 1024
MAX_PICTURE_BYTES = 20 * 1024 * 1024
MAX_PICTURES_BYTES = 100 * 1024 * 1024  # of a document, together
MEMORY_LIMIT_MB = 1536
CPU_LIMIT_S = 120
DEFAULT_STEM = "document"


def register(registry: Registry, files: Files, *, retries: int, timeout_s: float) -> None:
    """Offer `generate_pdf`, reading text and pictures and keeping documents with *files*."""

    async def generate_pdf(ctx: JobContext, payload: GeneratePdf) -> PdfGenerated:
        if payload.force_fail:
            raise ForcedFailure
        text, stem = await _text(ctx, payload)
        document = await asyncio.to_thread(typesetting.parse, text)
        pictures = {}
        left_bytes = MAX_PICTURES_BYTES
        for file_id in document.image_ids:
            limit_bytes = min(MAX_PICTURE_BYTES, left_bytes)
            pictures[file_id] = (await read_source(files, ctx, file_id, limit_bytes=limit_bytes)).content
            left_bytes -= len(pictures[file_id])
        made = await asyncio.to_thread(
            pdf.make_pdf,
            document,
            title=None if payload.title is UNSET else payload.title,
            page_size=payload.page_size,
            pictures=pictures,
        )
        ctx.log(f"{made.pages} pages, {len(made.content)} bytes")
        kept = await files.keep_bytes(
            made.content,
            namespace=ctx.namespace,
            name=f"{stem}.pdf",
            media_type="application/pdf",
            job_id=ctx.job_id,
        )
        return PdfGenerated(file=kept.id, pages=made.pages, size=kept.size)

    async def _text(ctx: JobContext, payload: GeneratePdf) -> tuple[str, str]:
        """Return the Markdown, and what the document is called."""
        title = None if payload.title is UNSET else payload.title
        if payload.file is UNSET:
            return ("" if payload.markdown is UNSET else payload.markdown), title or DEFAULT_STEM
        source = await read_source(files, ctx, payload.file, limit_bytes=MAX_MARKDOWN_BYTES)
        try:
            return source.content.decode("utf-8-sig"), title or source.stem
        except UnicodeDecodeError as error:
            raise Permanent(f"the file is not Markdown: byte {error.start} is not UTF-8") from None

    registry.job(
        NAME,
        queue=kinds.QUEUE,
        retries=retries,
        timeout_s=timeout_s,
        payload=PAYLOAD,
        isolation="process",
        memory_limit_mb=MEMORY_LIMIT_MB,
        cpu_limit_s=CPU_LIMIT_S,
    )(generate_pdf)
