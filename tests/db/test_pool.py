"""The pool on a real server that is cut off, killed and restarted."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

from taskflow.db import pool
from taskflow.db.embedded import TEST_SETTINGS, EmbeddedPostgres
from taskflow.db.listen import Listener
from taskflow.db.pool import CONNECTION_ERRORS, Database, session_settings
from taskflow.db.query import Connection
from taskflow.kernel.errors import Unavailable


async def test_start_does_not_fail_while_the_server_is_away(database_url: str) -> None:
    async with Proxy(database_url) as proxy:
        await proxy.close_door()
        database = Database(proxy.url, min_size=1, patience_s=5.0)
        await database.start()
        await proxy.heal()
        async with database.acquire() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        await database.stop()


async def test_acquire_waits_for_a_server_that_comes_back_in_time(database_url: str) -> None:
    async with Proxy(database_url) as proxy:
        database = Database(proxy.url, patience_s=5.0)
        await proxy.close_door()

        async def ask() -> int:
            async with database.acquire() as connection:
                value: int = await connection.fetchval("SELECT 1")
                return value

        asked = asyncio.create_task(ask())
        done, _ = await asyncio.wait({asked}, timeout=0.1)
        assert not done
        await proxy.heal()
        assert await asked == 1
        await database.stop()


async def test_acquire_says_unavailable_when_its_patience_is_over(database_url: str) -> None:
    async with Proxy(database_url) as proxy:
        await proxy.close_door()
        database = Database(proxy.url, patience_s=0.1)
        with pytest.raises(Unavailable, match="cannot be reached") as refused:
            async with database.acquire():
                pass
        assert refused.value.retry_after_s == 1.0
        await proxy.heal()
        async with database.acquire() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        await database.stop()


async def test_a_killed_backend_is_replaced_and_the_body_hears_of_its_own_loss(
    database_url: str, connection: Connection
) -> None:
    database = Database(database_url, max_size=1)
    async with database.acquire() as lost:
        await connection.execute("SELECT pg_terminate_backend($1)", lost.get_server_pid())
        with pytest.raises(CONNECTION_ERRORS):
            await lost.fetchval("SELECT 1")
    for _ in range(3):
        async with database.acquire() as idle:
            pid = idle.get_server_pid()
        await connection.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    with suppress(*CONNECTION_ERRORS):  # the last one's last words may have been read, and its end not yet
        async with database.acquire() as last:
            await last.fetchval("SELECT 1")
    async with database.acquire() as again:
        assert await again.fetchval("SELECT 1") == 1
    await database.stop()


async def test_an_error_rolls_the_transaction_back_and_passes_unchanged(database: Database) -> None:
    async with database.acquire() as connection:
        await connection.execute("CREATE TABLE note (text text)")

    async def fail() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO note VALUES ('never')")
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO note VALUES ('kept')")
    async with database.acquire() as connection:
        assert await connection.fetchval("SELECT string_agg(text, ' ') FROM note") == "kept"


@pytest.mark.parametrize("error", [ValueError("its own"), asyncio.CancelledError()], ids=["an error", "a cancellation"])
async def test_an_error_passes_unchanged_though_the_connection_has_died_as_well(
    database: Database, error: BaseException
) -> None:
    """A cancellation that came out as another error would leave running what was told to end."""

    async def borrow() -> None:
        async with database.transaction() as connection:
            with pytest.raises(CONNECTION_ERRORS):
                await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            raise error

    with pytest.raises(type(error)) as raised:
        await borrow()
    assert raised.value is error


async def test_a_borrower_cancelled_in_mid_query_leaves_nothing_to_the_next(database_url: str) -> None:
    database = Database(database_url, max_size=1)
    began = asyncio.Event()

    async def borrow() -> None:
        async with database.transaction() as connection:
            await connection.execute("CREATE TABLE never (text text)")
            began.set()
            await connection.execute("SELECT pg_sleep(60)")

    borrower = asyncio.create_task(borrow())
    await began.wait()
    borrower.cancel()
    with pytest.raises(asyncio.CancelledError):
        await borrower
    async with database.acquire() as connection:
        assert not connection.is_in_transaction()
        assert await connection.fetchval("SELECT to_regclass('never')") is None
    await database.stop()


async def test_a_cancelled_borrower_does_not_wait_for_a_server_that_never_heard_of_it(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request to cancel can miss a statement that was only just sent; the connection is closed then."""
    monkeypatch.setattr(pool, "ROLLBACK_PATIENCE_S", 0.2)
    async with Proxy(database_url) as proxy:
        database = Database(proxy.url, max_size=1)
        began = asyncio.Event()

        async def borrow() -> None:
            async with database.transaction() as connection:
                began.set()
                await connection.execute("SELECT pg_sleep(60)")

        borrower = asyncio.create_task(borrow())
        await began.wait()
        proxy.swallow()
        borrower.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await borrower
        await proxy.heal()
        async with database.acquire() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        await database.stop()


async def test_a_pool_whose_connections_are_all_lent_out_is_unavailable(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CONNECT_TIMEOUT_S", 0.05)
    database = Database(database_url, max_size=1, patience_s=0.0)
    async with database.acquire() as connection:
        with pytest.raises(Unavailable):
            async with database.acquire():
                pass
        assert await connection.fetchval("SELECT 1") == 1
    async with database.acquire() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    await database.stop()


async def test_a_statement_on_a_half_open_connection_ends(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "COMMAND_TIMEOUT_S", 0.1)
    monkeypatch.setattr(pool, "CONNECT_TIMEOUT_S", 0.1)
    async with Proxy(database_url) as proxy:
        database = Database(proxy.url, max_size=1, patience_s=0.0)
        async with database.acquire() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        proxy.swallow()
        with pytest.raises(TimeoutError):
            async with database.acquire() as connection:
                await connection.fetchval("SELECT 1")
        with pytest.raises(Unavailable):
            async with database.acquire():
                pass
        await proxy.heal()
        async with database.acquire() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        await database.stop()


async def test_stopping_twice_or_before_the_start_is_fine(database_url: str) -> None:
    database = Database(database_url)
    await database.stop()
    await database.start()
    await database.stop()
    await database.stop()


@pytest.mark.slow
async def test_stopping_cuts_what_is_busy_after_a_second(database_url: str) -> None:
    database = Database(database_url)
    began = asyncio.Event()

    async def sleep_for_ever() -> None:
        async with database.acquire() as connection:
            began.set()
            await connection.execute("SELECT pg_sleep(60)")

    busy = asyncio.create_task(sleep_for_ever())
    await began.wait()
    async with asyncio.timeout(5):
        await database.stop()
        with pytest.raises(CONNECTION_ERRORS):
            await busy


async def test_every_session_says_who_it_is_and_plans_as_the_statements_need(database_url: str) -> None:
    database = Database(database_url, application_name="taskflow-test")
    async with database.acquire() as connection:
        for name, value in session_settings("taskflow-test").items():
            shown = await connection.fetchval("SELECT current_setting($1)", name)
            assert shown in (value, "1min")
    await database.stop()


@pytest.mark.slow
@pytest.mark.system
async def test_a_killed_server_is_waited_for_and_listened_to_again(tmp_path: Path) -> None:
    """kill -9 of the postmaster, in the middle of a statement; nobody is restarted but the server."""
    binaries = os.environ.get("TASKFLOW_TEST_POSTGRES")
    server = EmbeddedPostgres(
        tmp_path / "postgres", settings=TEST_SETTINGS, binaries=Path(binaries) if binaries else None
    )
    server.initialise()
    server.spawn()
    woken: asyncio.Queue[str] = asyncio.Queue()
    try:
        await asyncio.to_thread(server.wait_ready, 30)
        database = Database(server.url, patience_s=20.0)
        listener = Listener(server.url, {"news": woken.put_nowait}, application_name="test-listener")
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(listener.run())
            assert await woken.get() == ""
            async with database.acquire() as connection:
                await connection.execute("NOTIFY news, 'first'")
            assert await woken.get() == "first"

            async def lose() -> None:
                async with database.acquire() as connection:
                    await connection.execute("SELECT pg_sleep(60)")

            losing = asyncio.create_task(lose())
            pid = server.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(CONNECTION_ERRORS):
                await losing

            async def ask() -> None:
                async with database.acquire() as connection:
                    await connection.execute("NOTIFY news, 'second'")

            await eventually("the server to be gone", lambda: server.pid is None)
            asked = asyncio.create_task(ask())
            server.spawn()
            assert await asyncio.wait_for(woken.get(), 20) == ""
            await asked
            async with database.acquire() as connection:
                await connection.execute("NOTIFY news, 'third'")
            heard = [await asyncio.wait_for(woken.get(), 5)]
            while heard[-1] != "third":
                heard.append(await asyncio.wait_for(woken.get(), 5))
            assert set(heard) <= {"second", "third"}
            listening.cancel()
        await database.stop()
    finally:
        await asyncio.to_thread(server.stop)
