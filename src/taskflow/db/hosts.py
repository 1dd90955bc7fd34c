"""
Connecting by a URL with several hosts, of which some may be dead.

asyncpg asks one host after the other within one timeout, so a host that swallows packets (its machine is gone) uses up
all of it, and one that refuses sessions (it recovers) ends the search. Here the next host is asked as soon as one
fails, and beside one that has not answered for `STAGGER_S`; the first session that will do is taken.
"""

import asyncio
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

STAGGER_S = 0.5


async def connect(url: str, *, timeout: float, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":
    """
    As `asyncpg.connect`, within *timeout* seconds for all hosts together.

    Raises:
        TimeoutError: no host gave a session in time, and one of them said nothing.
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError: as asyncpg does; of several hosts, what one that answers
            said.
    """
    urls = hosts_of(url)
    if len(urls) == 1:
        return await asyncpg.connect(url, timeout=timeout, **options)
    asked: set[asyncio.Task[asyncpg.Connection[asyncpg.Record]]] = set()
    errors: list[BaseException] = []
    try:
        while urls or asked:
            if urls:
                asking = asyncpg.connect(urls.pop(0), timeout=timeout, **options)
                asked.add(asyncio.create_task(asking, name="taskflow-connect"))
            done, _ = await asyncio.wait(
                asked, timeout=STAGGER_S if urls else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                asked.discard(task)
                if (error := task.exception()) is None:
                    return task.result()
                errors.append(error)
    finally:
        await _drop(asked)
    raise next((error for error in errors if not isinstance(error, OSError)), errors[-1])


def hosts_of(url: str) -> list[str]:
    """Return a URL for each host that *url* names, in their order."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return [url]
    return [urlunsplit(parts._replace(netloc=f"{user}{at}{host}")) for host in hosts.split(",")]


async def _drop(asked: "set[asyncio.Task[asyncpg.Connection[asyncpg.Record]]]") -> None:
    """Give up on what nobody needs any more, sessions that came all the same included."""
    for task in asked:
        task.cancel()
    for connection in await asyncio.gather(*asked, return_exceptions=True):
        if not isinstance(connection, BaseException):
            connection.terminate()
