"""
LISTEN on one connection of its own, reconnecting for ever.

A notification only wakes somebody early: whoever listens also polls, so a lost one costs time and nothing else. After
every (re)connection each callback is called once with an empty payload, for what may have been missed meanwhile.
"""

import asyncio
from collections.abc import Callable, Mapping

import asyncpg

from taskflow.db import hosts
from taskflow.db.pool import CONNECT_TIMEOUT_S, DATABASE_ERRORS, session_settings
from taskflow.kernel.backoff import reconnect_waits_s
from taskflow.telemetry.log import get_logger

PROBE_INTERVAL_S = 10.0  # a silent, half-open connection is found within this and PROBE_TIMEOUT_S
PROBE_TIMEOUT_S = 5.0

_log = get_logger(__name__)


class Listener:
    """Calls `callbacks[channel](payload)` in the event loop for every notification, until cancelled."""

    def __init__(self, url: str, callbacks: Mapping[str, Callable[[str], None]], *, application_name: str) -> None:
        self._url = url
        self._callbacks = callbacks
        self._application_name = application_name
        self.connected = asyncio.Event()

    async def run(self) -> None:
        waits_s = reconnect_waits_s()
        while True:
            try:
                connection = await hosts.connect(
                    self._url,
                    timeout=CONNECT_TIMEOUT_S,
                    command_timeout=PROBE_TIMEOUT_S,  # LISTEN itself may meet a half-open connection
                    server_settings=session_settings(self._application_name),
                )
            except DATABASE_ERRORS:
                await asyncio.sleep(next(waits_s))
                continue
            try:
                for channel in self._callbacks:
                    await connection.add_listener(channel, self._dispatch)
                self.connected.set()
                for callback in self._callbacks.values():
                    callback("")
                waits_s = reconnect_waits_s()
                await self._watch(connection)
            except DATABASE_ERRORS as error:
                _log.warning("taskflow.listener.lost", error=type(error).__name__)
            finally:
                self.connected.clear()
                connection.terminate()
            await asyncio.sleep(next(waits_s))

    def _dispatch(self, _connection: object, _pid: int, channel: str, payload: object) -> None:
        self._callbacks[channel](str(payload))

    @staticmethod
    async def _watch(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _connection: closed.set())
        while not closed.is_set():
            try:
                async with asyncio.timeout(PROBE_INTERVAL_S):
                    await closed.wait()
            except TimeoutError:
                await connection.execute("SELECT 1")
