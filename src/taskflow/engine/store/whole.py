"""All statements in one class, as the rest of the engine sees them."""

from taskflow.engine.store.attempts import AttemptStatements
from taskflow.engine.store.keys import KeyStatements
from taskflow.engine.store.leading import LeaderStatements
from taskflow.engine.store.operations import OperationStatements
from taskflow.engine.store.remote import RemoteStatements
from taskflow.engine.store.retention import RetentionStatements
from taskflow.engine.store.schedules import ScheduleStatements
from taskflow.engine.store.statistics import StatStatements


class Store(
    KeyStatements,
    AttemptStatements,
    OperationStatements,
    RemoteStatements,
    LeaderStatements,
    RetentionStatements,
    ScheduleStatements,
    StatStatements,
):
    """See the package. Stateless but for *now*; share one."""
