"""URLs with several hosts: whichever is there and takes writes is found, whatever the others do."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import asyncpg
import pytest
from tests.support.up import free_port

from taskflow.db.hosts import STAGGER_S, connect, hosts_of
from taskflow.db.listen import Listener
from taskflow.db.pool import Database
from taskflow.db.query import Connection


@pytest.fixture
def silent() -> Iterator[str]:
    """A host that takes connections and never says a word, as one whose machine has vanished or hangs."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
async def recovering() -> AsyncIterator[str]:
    """A host that refuses every session, as a server does that starts up."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readexactly(8)
        if request[4:] == (80877103).to_bytes(4, "big"):  # asks for TLS
            writer.write(b"N")
            await reader.readexactly(8)
        said = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
        writer.write(b"E" + (len(said) + 4).to_bytes(4, "big") + said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def before(host: str, url: str) -> str:
    """Return *url* with *host* before its own, for whoever wants to write."""
    user, _, rest = url.partition("@")
    return f"{user}@{host},{rest}?target_session_attrs=read-write"


async def port_of(connection: Connection) -> int:
    port: int = await connection.fetchval("SELECT inet_server_port()")
    return port


async def test_a_host_that_says_nothing_costs_a_moment(database_url: str, silent: str) -> None:
    began = time.monotonic()
    connection = await connect(before(silent, database_url), timeout=5)
    assert STAGGER_S <= time.monotonic() - began < 4
    assert await port_of(connection) == urlsplit(database_url).port
    await connection.close()


async def test_a_host_that_refuses_sessions_or_is_not_there_is_passed(database_url: str, recovering: str) -> None:
    for host in (recovering, f"127.0.0.1:{free_port()}"):
        connection = await connect(before(host, database_url), timeout=5)
        assert await port_of(connection) == urlsplit(database_url).port
        await connection.close()


async def test_the_pool_its_own_connections_and_listening_get_past_a_silent_host(
    database_url: str, silent: str
) -> None:
    url = before(silent, database_url)
    database = Database(url, patience_s=0.0)
    async with database.acquire() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    own = database.own_connection()
    async with own.use() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    own.close()
    await database.stop()
    listener = Listener(url, {"test": lambda _payload: None}, application_name="test")
    task = asyncio.create_task(listener.run())
    async with asyncio.timeout(4):
        await listener.connected.wait()
    task.cancel()
    await asyncio.wait([task])


async def test_when_nobody_will_do_the_error_is_of_one_that_answered(database_url: str, silent: str) -> None:
    wrong = before(f"127.0.0.1:{free_port()}", database_url.replace("taskflow:", "taskflow:not"))
    with pytest.raises(asyncpg.InvalidPasswordError):
        await connect(wrong, timeout=5)
    with pytest.raises(TimeoutError):
        await connect(f"postgresql://u:p@{silent},{silent}/x", timeout=0.2)


async def test_a_session_that_comes_too_late_is_not_left_open(database_url: str, silent: str) -> None:
    url = f"postgresql://u:p@{silent},{silent}/x"
    tasks = asyncio.all_tasks()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(STAGGER_S + 0.1):
            await connect(url, timeout=5)
    assert asyncio.all_tasks() == tasks


def test_a_url_is_taken_apart_by_its_hosts_alone() -> None:
    url = "postgresql://u:p%40,x@a:1,[::1]:2,c/db?target_session_attrs=read-write"
    assert hosts_of(url) == [
        f"postgresql://u:p%40,x@{host}/db?target_session_attrs=read-write" for host in ("a:1", "[::1]:2", "c")
    ]
    assert hosts_of("postgresql:///db?host=/run/postgresql") == ["postgresql:///db?host=/run/postgresql"]
