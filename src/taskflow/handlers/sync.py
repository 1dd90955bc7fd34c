"""The handler of `sync`: read a URL, and make a dataset what it says."""

import asyncio
from typing import Any

import msgspec

from taskflow import kinds
from taskflow.adapters.address import Refused, parse_url
from taskflow.adapters.fetch import Fetched, Fetcher, Limits
from taskflow.datasets.reading import format_of, read_rows
from taskflow.datasets.repository import Dataset
from taskflow.datasets.service import Datasets, Switched
from taskflow.engine.registry import JobContext, Registry, Retry
from taskflow.handlers.forced import ForcedFailure
from taskflow.handlers.webhook import retry_after_s
from taskflow.kernel.errors import ExternalError, Permanent
from taskflow.kinds.sync import MAX_BYTES, NAME, Sync, Synced

REDIRECTS = 3
TRIES = 3  # at being the last to read and the first to write
FETCH_SHARE = 0.7  # of the time there is; the rest is for reading rows and writing them
TRANSIENT = frozenset({408, 425, 429})
MEMORY_LIMIT_MB = 1024  # 20 MiB of JSON may become half of it
CPU_LIMIT_S = 60
MAX_VALIDATOR_LENGTH = 500  # of an ETag or a date; a longer one is not kept


def register(registry: Registry, datasets: Datasets, fetcher: Fetcher, *, retries: int, timeout_s: float) -> None:
    """Offer `sync`."""

    async def sync(ctx: JobContext, payload: Sync) -> Synced:
        if payload.force_fail:
            raise ForcedFailure
        dataset = await datasets.open(ctx.namespace, payload.dataset)
        for _ in range(TRIES):
            answer = await _fetch(fetcher, ctx, payload, dataset)
            switched = await _write(datasets, ctx, payload, dataset, answer)
            if switched is not None:
                etag, last_modified = _validators(answer)
                if answer.status == 304:
                    etag, last_modified = dataset.etag, dataset.last_modified
                return Synced(
                    dataset=payload.dataset,
                    added=switched.added,
                    changed=switched.changed,
                    removed=switched.removed,
                    unchanged=switched.unchanged,
                    not_modified=answer.status == 304,
                    version=switched.version,
                    etag=etag,
                    last_modified=last_modified,
                )
            ctx.log("another sync changed the dataset meanwhile: reading again")
            dataset = await datasets.look_again(ctx.namespace, dataset)
        raise Retry(1.0, "other syncs of this dataset were always faster")

    registry.job(
        NAME,
        queue=kinds.QUEUE,
        retries=retries,
        timeout_s=timeout_s,
        payload=Sync,
        isolation="process",
        memory_limit_mb=MEMORY_LIMIT_MB,
        cpu_limit_s=CPU_LIMIT_S,
    )(sync)


async def _fetch(fetcher: Fetcher, ctx: JobContext, payload: Sync, dataset: Dataset) -> Fetched:
    """Ask for what is new since the last time; return the answer, a 200 or a 304."""
    headers = {}
    if dataset.source == _source(payload):
        if dataset.etag is not None:
            headers["If-None-Match"] = dataset.etag
        elif dataset.last_modified is not None:
            headers["If-Modified-Since"] = dataset.last_modified
    limits = Limits(
        timeout_s=max(0.1, ctx.remaining_s * FETCH_SHARE), body_bytes=MAX_BYTES, whole=True, redirects=REDIRECTS
    )
    try:
        answer = await fetcher.fetch("GET", payload.url, limits=limits, headers=headers)
    except Refused as refusal:
        if refusal.transient:
            raise
        raise Permanent(f"the URL {refusal}") from None
    if answer.status == 200 or (answer.status == 304 and headers):
        return answer
    words = f"{parse_url(payload.url, allow_loopback=True).origin} answered {answer.status}"
    if answer.status >= 500 or answer.status in TRANSIENT:
        raise ExternalError(words, transient=True, retry_after_s=retry_after_s(answer.headers.get("retry-after")))
    raise Permanent(words)


async def _write(
    datasets: Datasets, ctx: JobContext, payload: Sync, dataset: Dataset, answer: Fetched
) -> Switched | None:
    if answer.status == 304:
        return await datasets.keep(ctx.namespace, dataset)
    format_ = payload.format or format_of(answer.headers.get("content-type", ""), payload.url)
    rows = await asyncio.to_thread(
        read_rows, answer.body, format_, key=payload.key, path=payload.path, delimiter=payload.delimiter
    )
    etag, last_modified = _validators(answer)
    return await datasets.switch(
        ctx.namespace, dataset, rows, source=_source(payload), etag=etag, last_modified=last_modified
    )


def _source(payload: Sync) -> dict[str, Any]:
    """What decides which rows come of the same answer."""
    fields: dict[str, Any] = msgspec.to_builtins(payload)
    return {name: fields[name] for name in ("url", "format", "key", "path", "delimiter")}


def _validators(answer: Fetched) -> tuple[str | None, str | None]:
    """ETag and Last-Modified, as far as they can be kept."""
    found = (answer.headers.get("etag"), answer.headers.get("last-modified"))
    etag, last_modified = (
        value if value and len(value) <= MAX_VALIDATOR_LENGTH and value.isascii() and value.isprintable() else None
        for value in found
    )
    return etag, last_modified
