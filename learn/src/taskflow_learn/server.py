"""
The server: opens the port, keeps the background work running, and ends all of it in order.

    start   listen first, then start the workers: the first answer need not wait for processes
    stop    1 accept nobody new   2 say goodbye to sockets   3 let requests finish, for a while   4 end the workers
"""

import asyncio
import contextlib
import os
import resource
import socket

from taskflow_learn.app import App
from taskflow_learn.config import LOOPBACK, Settings
from taskflow_learn.errors import Code, Refusal, SettingsError
from taskflow_learn.http.connection import Connection
from taskflow_learn.http.limits import Limits
from taskflow_learn.http.response import encode_head
from taskflow_learn.log import Logger
from taskflow_learn.services import make_services

BACKLOG = 1_024  # connections that the kernel keeps while we are busy; the default of 100 refuses a rush
WORKER_PAUSE_S = 0.05  # new interpreters, starting all at once, would take the cores from the first requests


class Server:
    """Use as `async with Server(settings, log) as server`; stopping twice is fine."""

    def __init__(self, settings: Settings, log: Logger) -> None:
        self._settings = settings
        self._log = log
        self._limits = Limits.of(settings)
        self.services = make_services(settings, log)
        self._app = App(self.services)
        self._connections: dict[asyncio.Task[None], tuple[Connection, asyncio.StreamWriter]] = {}
        self._listener: asyncio.Server | None = None
        self._background: asyncio.Task[None] | None = None
        self._is_stopping = False

    @property
    def port(self) -> int:
        """The port that was opened; differs from the setting if that was 0."""
        assert self._listener is not None
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        host = "localhost" if self._settings.host in LOOPBACK else self._settings.host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Listen. Raise `SettingsError` if the port cannot be had."""
        _raise_file_limit(self._settings.connection_limit)
        host, port = self._settings.host, self._settings.port
        try:
            self._listener = await asyncio.start_server(self._serve, host, port, backlog=BACKLOG)
        except OSError as error:
            # asyncio words its own sentence around the system's; a name that cannot be resolved has no system error
            reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise SettingsError(
                f"cannot listen on {host}:{port}: {reason}\n"
                f"Stop whoever has the port:  lsof -ti:{port} | xargs kill\n"
                f"or take another one:        PORT={port + 1 if port < 65_535 else 3001} python3 -m taskflow_learn"
            ) from error
        self._background = asyncio.create_task(self._run_background(), name="background")

    async def stop(self) -> None:
        """Stop in order; what has not ended after `STOP_TIMEOUT_MS` is cut off."""
        if self._listener is None:
            return
        self._is_stopping = True
        self._listener.close()
        self.services.hub.close()
        for connection, writer in self._connections.values():
            if connection.is_idle:
                writer.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=self._settings.stop_timeout_ms / 1000)
        for task, (_, writer) in tuple(self._connections.items()):
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._background is not None:
            self._background.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._background
        await self._listener.wait_closed()
        self._listener = None

    async def __aenter__(self) -> "Server":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _run_background(self) -> None:
        services = self.services
        async with asyncio.TaskGroup() as group:
            group.create_task(services.hub.run(), name="heartbeat")
            group.create_task(services.memory.run(), name="memory")
            await asyncio.sleep(WORKER_PAUSE_S)
            group.create_task(services.workers.run(), name="workers")
            group.create_task(services.reports.run(), name="reports")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, in the task that asyncio made for it."""
        if len(self._connections) >= self._settings.connection_limit or self._is_stopping:
            self._turn_away(writer)
            return
        # Small answers leave at once: without this the kernel may wait for more to send with them (Nagle's algorithm).
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(reader, writer, self._app, self._limits, lambda: self._is_stopping)
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = (connection, writer)
        try:
            await connection.serve()
        except asyncio.CancelledError:
            if not self._is_stopping:
                raise  # else it was `stop` that ran out of patience, and nobody further up waits for this task
        finally:
            del self._connections[task]

    def _turn_away(self, writer: asyncio.StreamWriter) -> None:
        limit = self._settings.connection_limit
        refusal = Refusal(
            Code.SERVICE_UNAVAILABLE, f"the server has {limit} connections, its limit; try again later", {"max": limit}
        )
        request_id, response = self._app.refuse(refusal)
        framing = f"Content-Length: {len(response.body)}"
        writer.write(encode_head(response, request_id, framing, keep_alive=False) + response.body)
        writer.close()


def _raise_file_limit(connections: int) -> None:
    """Every connection is an open file, and the usual limit is 1,024. Take what we are allowed to have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
