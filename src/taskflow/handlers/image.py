"""The handler of `resize_image`."""

import asyncio

from msgspec import UNSET

from taskflow import kinds
from taskflow.adapters import images
from taskflow.engine.registry import JobContext, Registry
from taskflow.files.service import Files
from taskflow.handlers.forced import ForcedFailure
from taskflow.handlers.source import read_source
from taskflow.kinds.image import NAME, PAYLOAD, ImageResized, ResizeImage

MAX_SOURCE_BYTES = 50 * 1024 * 1024
MEMORY_LIMIT_MB = 1024
CPU_LIMIT_S = 120


def register(registry: Registry, files: Files, *, retries: int, timeout_s: float) -> None:
    """Offer `resize_image`, reading and keeping pictures with *files*."""

    async def resize_image(ctx: JobContext, payload: ResizeImage) -> ImageResized:
        if payload.force_fail:
            raise ForcedFailure
        source = await read_source(files, ctx, payload.file, limit_bytes=MAX_SOURCE_BYTES)
        picture = await asyncio.to_thread(
            images.resize,
            source.content,
            width=None if payload.width is UNSET else payload.width,
            height=None if payload.height is UNSET else payload.height,
            fit=payload.fit,
            format=None if payload.format is UNSET else payload.format,
            quality=payload.quality,
        )
        ctx.log(f"{picture.format}, {picture.width} x {picture.height}, {len(picture.content)} bytes")
        kept = await files.keep_bytes(
            picture.content,
            namespace=ctx.namespace,
            name=f"{source.stem}-{picture.width}x{picture.height}.{picture.format.replace('jpeg', 'jpg')}",
            media_type=f"image/{picture.format}",
            job_id=ctx.job_id,
        )
        return ImageResized(
            file=kept.id, width=picture.width, height=picture.height, format=picture.format, size=kept.size
        )

    registry.job(
        NAME,
        queue=kinds.QUEUE,
        retries=retries,
        timeout_s=timeout_s,
        payload=PAYLOAD,
        isolation="process",
        memory_limit_mb=MEMORY_LIMIT_MB,
        cpu_limit_s=CPU_LIMIT_S,
    )(resize_image)
