"""Listening on a real server, over connections that are lost in every way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

from taskflow.db import listen, pool
from taskflow.db.listen import Listener
from taskflow.db.query import Connection

Heard = asyncio.Queue[tuple[str, str]]


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[tuple[Listener, Heard]]:
    """Listen on two channels; what is heard is queued as (channel, payload)."""
    heard: Heard = asyncio.Queue()
    listener = Listener(
        url,
        {
            "news": lambda payload: heard.put_nowait(("news", payload)),
            "sport": lambda payload: heard.put_nowait(("sport", payload)),
        },
        application_name="test-listener",
    )
    task = asyncio.create_task(listener.run())
    try:
        yield listener, heard
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def next_of(heard: Heard) -> tuple[str, str]:
    return await asyncio.wait_for(heard.get(), 8)


async def hears_connect(heard: Heard) -> None:
    """Each callback is called once, with nothing."""
    assert [await next_of(heard), await next_of(heard)] == [("news", ""), ("sport", "")]


async def test_notifications_arrive_in_order_on_their_channels(database_url: str, connection: Connection) -> None:
    async with listening(database_url) as (_, heard):
        await hears_connect(heard)
        for channel, payload in (("sport", "goal"), ("news", "rain"), ("news", "sun")):
            await connection.execute("SELECT pg_notify($1, $2)", channel, payload)
        assert [await next_of(heard) for _ in range(3)] == [("sport", "goal"), ("news", "rain"), ("news", "sun")]


async def test_a_terminated_listener_connects_again_and_says_once_that_it_may_have_missed_something(
    database_url: str, connection: Connection
) -> None:
    async with listening(database_url) as (_, heard):
        await hears_connect(heard)
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'test-listener' AND datname = current_database()"
        )
        await hears_connect(heard)
        await connection.execute("NOTIFY news, 'after'")
        assert await next_of(heard) == ("news", "after")


async def test_a_listener_that_starts_before_its_server_finds_it_later(
    database_url: str, connection: Connection
) -> None:
    async with Proxy(database_url) as proxy:
        await proxy.close_door()
        async with listening(proxy.url) as (listener, heard):
            await asyncio.sleep(0)
            assert not listener.connected.is_set()
            await proxy.heal()
            await hears_connect(heard)
            assert listener.connected.is_set()
            await connection.execute("NOTIFY news, 'here'")
            assert await next_of(heard) == ("news", "here")


async def test_a_half_open_connection_is_noticed_by_a_probe(
    database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing arrives and nothing says so: only asking tells."""
    monkeypatch.setattr(listen, "PROBE_INTERVAL_S", 0.05)
    monkeypatch.setattr(listen, "PROBE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(listen, "CONNECT_TIMEOUT_S", 0.2)
    async with Proxy(database_url) as proxy, listening(proxy.url) as (listener, heard):
        await hears_connect(heard)
        proxy.swallow()
        await connection.execute("NOTIFY news, 'lost'")
        await eventually("the probe to fail", lambda: not listener.connected.is_set())
        await proxy.heal()
        await hears_connect(heard)
        await connection.execute("NOTIFY news, 'heard'")
        assert await next_of(heard) == ("news", "heard")


async def test_a_server_that_falls_silent_at_the_very_listen_is_noticed_too(
    database_url: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "PROBE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(listen, "CONNECT_TIMEOUT_S", 0.2)
    async with Proxy(database_url) as proxy:
        proxy.swallow(when=b"LISTEN")
        async with listening(proxy.url) as (_, heard):
            await eventually("a second try to connect", lambda: proxy.accepted > 1)
            await proxy.heal()
            await hears_connect(heard)
            await connection.execute("NOTIFY news, 'heard'")
            assert await next_of(heard) == ("news", "heard")


async def test_idle_connections_are_probed_and_kept(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "PROBE_INTERVAL_S", 0.01)
    async with Proxy(database_url) as proxy, listening(proxy.url) as (listener, heard):
        await hears_connect(heard)
        probed = proxy.statements
        await eventually("three probes", lambda: proxy.statements >= probed + 3)
        assert listener.connected.is_set()
        assert proxy.accepted == 1


def test_the_listener_gives_up_a_connection_no_later_than_the_pool() -> None:
    """Both meet the same half-open sockets; a listener that waited longer would be the last to know."""
    assert listen.PROBE_INTERVAL_S + listen.PROBE_TIMEOUT_S < pool.COMMAND_TIMEOUT_S
