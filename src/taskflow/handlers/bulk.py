"""The internal job that carries out an operation on many jobs, in steps, for as long as it takes."""

import time
from uuid import UUID

import msgspec

from taskflow.engine.bulk import KIND, TIMEOUT_S, Bulk
from taskflow.engine.job import MAX_RETRIES, SYSTEM_NAMESPACE
from taskflow.engine.record import OperationId
from taskflow.engine.registry import JobContext, Registry, Snooze
from taskflow.handlers.outage import uncharged
from taskflow.kernel.errors import Permanent

SLICE_S = 60.0  # then others shall have the place for a moment


class BulkOperation(msgspec.Struct, forbid_unknown_fields=True):
    """Which operation."""

    operation: UUID


def register(registry: Registry, bulk: Bulk, *, queue: str) -> None:
    """Make *registry* able to carry operations out."""

    @registry.job(KIND, payload=BulkOperation, queue=queue, retries=MAX_RETRIES, timeout_s=TIMEOUT_S, trusted=True)
    async def bulk_operation(ctx: JobContext, payload: BulkOperation) -> None:
        if ctx.namespace != SYSTEM_NAMESPACE:
            raise Permanent("operations are started through the API, not as jobs")
        until_s = time.monotonic() + SLICE_S
        with uncharged():
            while not await bulk.step(OperationId(payload.operation)):
                if time.monotonic() > until_s:
                    raise Snooze(0.0)
