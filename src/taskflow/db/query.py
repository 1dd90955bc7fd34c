"""
SQL lives in files, one statement each, with `:named` parameters; this loads them for asyncpg.

A file's name is the query's name. Names are turned into `$1…$n` in order of first use, once, at import; a call must
give exactly the names that the statement uses, so that a forgotten or misspelt one fails at the first test.
(Why not aiosql: its methods are made at run time and typed `Any`; this is forty lines and `mypy --strict` sees it.)
"""

import re
from collections.abc import AsyncIterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, Union

import asyncpg
from asyncpg.pool import PoolConnectionProxy

# A name at run time too: annotations say `Connection | None`.
Connection: TypeAlias = Union["asyncpg.Connection[asyncpg.Record]", "PoolConnectionProxy[asyncpg.Record]"]

# A comment, a quoted text, a cast, or a parameter: the first three are stepped over.
_TOKEN = re.compile(r"--[^\n]*|'(?:[^']|'')*'|::|:([a-z_][a-z0-9_]*)")


class Query:
    """One prepared statement and the names of its parameters, in the order of `$1…$n`."""

    __slots__ = ("_order", "_text", "name", "names", "sql")

    def __init__(self, name: str, text: str) -> None:
        names: dict[str, int] = {}

        def number(match: re.Match[str]) -> str:
            if (found := match.group(1)) is None:
                return "" if match.group().startswith("--") else match.group()
            return f"${names.setdefault(found, len(names) + 1)}"

        self.name = name
        self._text = text
        # The leading comment names the statement in pg_stat_activity and pg_stat_statements.
        self.sql = f"/* taskflow:{name} */ " + _TOKEN.sub(number, text).strip().rstrip(";")
        self.names: Sequence[str] = tuple(names)
        self._order = {given: index for index, given in enumerate(names)}

    def written_for(self, parameter: str) -> str:
        """Return the statement for another driver: *parameter* is how it writes one, such as `%({name})s`."""
        text = _TOKEN.sub(
            lambda match: (
                parameter.format(name=match[1]) if match[1] else "" if match[0].startswith("--") else match[0]
            ),
            self._text,
        )
        return f"/* taskflow:{self.name} */ {text.strip().rstrip(';')}"

    def arguments(self, params: dict[str, Any]) -> list[Any]:
        """Return *params* in the order of `$1…$n`. Raises TypeError for a missing or unknown name."""
        if params.keys() != self._order.keys():
            raise TypeError(f"query {self.name!r} takes {sorted(self._order)}, got {sorted(params)}")
        return [params[name] for name in self.names]

    async def fetch(self, connection: Connection, **params: Any) -> list[asyncpg.Record]:
        return await connection.fetch(self.sql, *self.arguments(params))

    async def fetchrow(self, connection: Connection, **params: Any) -> asyncpg.Record | None:
        return await connection.fetchrow(self.sql, *self.arguments(params))

    async def fetchval(self, connection: Connection, **params: Any) -> Any:
        return await connection.fetchval(self.sql, *self.arguments(params))

    def cursor(self, connection: Connection, *, prefetch: int, **params: Any) -> AsyncIterator[asyncpg.Record]:
        """Iterate over the rows, *prefetch* of them at a time; the connection is in a transaction."""
        return aiter(connection.cursor(self.sql, *self.arguments(params), prefetch=prefetch))

    async def execute(self, connection: Connection, **params: Any) -> str:
        return await connection.execute(self.sql, *self.arguments(params))

    async def write(self, connection: Connection, **params: Any) -> int:
        """Execute an INSERT, UPDATE or DELETE; return how many rows it wrote."""
        status = await self.execute(connection, **params)
        return int(status.rpartition(" ")[2])  # such as INSERT 0 n


class Queries:
    """The statements of one folder. Only the repository beside the folder holds one of these."""

    def __init__(self, folder: Path) -> None:
        self._queries = {path.stem: Query(path.stem, path.read_text()) for path in sorted(folder.glob("*.sql"))}
        if not self._queries:
            raise FileNotFoundError(f"no .sql files in {folder}")

    def __getitem__(self, name: str) -> Query:
        return self._queries[name]

    def __iter__(self) -> Any:
        return iter(self._queries.values())


@cache
def load_queries(folder: Path) -> Queries:
    """Read a folder of `.sql` files once per process."""
    return Queries(folder)
