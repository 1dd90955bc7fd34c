"""All statements in one class, as the rest of the engine sees them."""

from taskflow.engine.store.attempts import AttemptStatements
from taskflow.engine.store.keys import KeyStatements
from taskflow.engine.store.leading import LeaderStatements
from taskflow.engine.store.operations import OperationStatements
from taskflow.engine.store.workers import WorkerStatements


class Store(KeyStatements, AttemptStatements, OperationStatements, WorkerStatements, LeaderStatements):
    """See the package. Stateless but for *now*; share one."""
