"""Statements of the leader and its duties."""

from taskflow.db.query import Connection
from taskflow.engine.job import WorkerId
from taskflow.engine.record import Ahead, DeadEntries, Leadership, Term
from taskflow.engine.store.base import LEASE_S, QUERIES, StoreBase

VACUUMED = ("ready", "lease", "deferred", "stat_delta")  # tables whose rows come and go within seconds


class LeaderStatements(StoreBase):
    """See the module."""

    async def lead(self, connection: Connection, name: str, holder: WorkerId, *, term_s: float) -> Term | None:
        """Become or stay the leader; None while somebody else is."""
        row = await QUERIES["lead"].fetchrow(connection, now=self._now(), name=name, holder=holder, term_s=term_s)
        return None if row is None else Term(row["term"], row["held_s"])

    async def find_leader(self, connection: Connection, name: str) -> Leadership | None:
        """Return who led last; None if nobody ever did."""
        row = await QUERIES["read_leader"].fetchrow(connection, now=self._now(), name=name)
        return None if row is None else Leadership(**row)

    async def resign(self, connection: Connection, name: str, holder: WorkerId) -> None:
        await QUERIES["resign"].execute(connection, now=self._now(), name=name, holder=holder)

    async def try_duty_lock(self, connection: Connection, duty: int) -> bool:
        """Take the lock of one duty until the transaction ends; False if another leader has it."""
        return bool(await QUERIES["try_duty_lock"].fetchval(connection, duty=duty))

    async def make_partitions(self, connection: Connection, *, days: int) -> int:
        made: int = await QUERIES["make_partitions"].fetchval(connection, now=self._now(), days=days)
        return made

    async def count_partition_days(self, connection: Connection) -> int:
        """Count the days from today on for which every partition is there, up to 30."""
        days: int = await QUERIES["count_partition_days"].fetchval(connection, now=self._now())
        return days

    async def dead_entries(self, connection: Connection) -> DeadEntries:
        row = await QUERIES["dead_entries"].fetchrow(connection)
        if row is None:
            raise AssertionError("a SELECT without FROM returns a row")
        return DeadEntries({table: row[table] for table in VACUUMED}, row["oldest_xmin"])

    async def vacuum(self, connection: Connection, table: str) -> None:
        """Remove dead rows of one of `VACUUMED`; not in a transaction. A table that somebody locks is left out."""
        await QUERIES[f"vacuum_{table}"].execute(connection)

    async def look_ahead(self, connection: Connection, *, grace_s: float) -> Ahead:
        """Return what the duties have before them; *grace_s* is how old a lease of a worker over HTTP may be."""
        row = await QUERIES["look_ahead"].fetchrow(connection, now=self._now(), grace_s=grace_s)
        if row is None:
            raise AssertionError("a SELECT from one row returns a row")
        return Ahead(**row)

    async def next_death_s(self, connection: Connection) -> float | None:
        """Return after how many seconds there may be something to rescue (0 or less: there is); None: no worker."""
        value: float | None = await QUERIES["next_death_s"].fetchval(connection, now=self._now(), lease_s=LEASE_S)
        return value
