"""What a server says of its own health: clock, safety of commits, connections, old snapshots, standbys."""

from dataclasses import dataclass
from datetime import datetime

from taskflow.db.query import Connection, Query


@dataclass(frozen=True, slots=True)
class Vitals:
    """
    A server as it was when it was asked.

    Args:
        now: its clock, at the moment of the statement.
        version_num: such as 150004.
        fsync, full_page_writes, synchronous_commit, synchronous_standby_names: settings, as this session has them.
        connections, max_connections: of clients; those that are left for superusers are not counted in.
        standbys, synchronous_standbys: that stream from it now.
        oldest_transaction_s, oldest_transaction: how long the oldest transaction of another session is open, and whose
            it is; 0 and empty if there is none.
        oldest_prepared_s: the same of prepared transactions, which outlive their session.
        idle_slots: replication slots that nobody uses and that hold back VACUUM or the removal of WAL.
        data_directory: on the server's machine; None where the role may not know it.
    """

    now: datetime
    version_num: int
    version: str
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    synchronous_standby_names: str
    connections: int
    max_connections: int
    standbys: int
    synchronous_standbys: int
    oldest_transaction_s: float
    oldest_transaction: str
    oldest_prepared_s: float
    idle_slots: int
    data_directory: str | None


_READ_VITALS = Query(
    "read_vitals",
    """
    SELECT
        clock_timestamp() AS now,
        current_setting('server_version_num')::integer AS version_num,
        current_setting('server_version') AS version,
        current_setting('fsync')::boolean AS fsync,
        current_setting('full_page_writes')::boolean AS full_page_writes,
        current_setting('synchronous_commit') AS synchronous_commit,
        current_setting('synchronous_standby_names') AS synchronous_standby_names,
        (SELECT count(*)::integer FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
        current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
            AS max_connections,
        (SELECT count(*)::integer FROM pg_stat_replication) AS standbys,
        (SELECT count(*)::integer FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))
            AS synchronous_standbys,
        coalesce(extract(epoch FROM clock_timestamp() - oldest.xact_start)::double precision, 0)
            AS oldest_transaction_s,
        coalesce(format('pid %s, %s', oldest.pid, nullif(oldest.application_name, '')), '') AS oldest_transaction,
        coalesce(
            (SELECT extract(epoch FROM now() - min(prepared))::double precision FROM pg_prepared_xacts), 0
        ) AS oldest_prepared_s,
        (SELECT count(*)::integer FROM pg_replication_slots WHERE NOT active) AS idle_slots,
        (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS data_directory
    FROM (SELECT) AS one
    LEFT JOIN LATERAL (
        SELECT a.pid, a.application_name, a.xact_start FROM pg_stat_activity a
        WHERE a.xact_start IS NOT NULL AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend'
        ORDER BY a.xact_start LIMIT 1
    ) AS oldest ON true
    """,
)


async def read_vitals(connection: Connection) -> Vitals:
    """Return all of it. What the role may not see of other sessions is left out: `pg_read_all_stats` shows it."""
    row = await _READ_VITALS.fetchrow(connection)
    assert row is not None, "an outer join keeps its row"
    values = dict(row)
    if not values["oldest_transaction_s"]:
        values["oldest_transaction"] = ""
    return Vitals(**values)
