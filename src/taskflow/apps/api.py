"""
The API process: the application of `apps.http` under uvicorn, as a supervisor starts it.

The supervisor holds the listening socket, so that a restarted API answers at the same address.
"""

import asyncio
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
import uvloop

from taskflow.apps.control import ControlChannel
from taskflow.apps.fitness import check_schema
from taskflow.apps.http import create_app
from taskflow.apps.settings import Settings
from taskflow.apps.tracing import traced
from taskflow.db.pool import Database
from taskflow.http.drain import Drain
from taskflow.http.limits import LimitName, RateLimits
from taskflow.http.wire import BoundedProtocol
from taskflow.kernel.errors import SetupError
from taskflow.telemetry import log

MAX_CONNECTIONS = 10  # of the pool
DRAIN_S = 10  # requests may take so long after SIGTERM


def run_api(settings: Settings, *, fd: int | None = None, control_fd: int | None = None) -> None:
    """
    Run the API until SIGTERM or SIGINT, then answer what is under way for `DRAIN_S` at most; a second signal: now.

    Args:
        fd: a listening socket to use; without one, `settings.host` and `settings.port` are bound.
        control_fd: the channel to the supervisor, if there is one.

    Raises:
        SetupError: no database or secret is known, the schema does not fit, or the address is taken.
    """
    if settings.database_url is None:
        raise SetupError("no database: set TASKFLOW_DATABASE_URL, or use `taskflow up`")
    if settings.secret_key is None:
        raise SetupError("no root secret: set TASKFLOW_SECRET_KEY to 32 random bytes or more, the same for every API")
    log.configure(settings.log_format, level=settings.log_level)
    if fd is None:  # `up` has looked before it starts the API
        asyncio.run(check_schema(settings.database_url))
    listener = _listener(settings, fd)
    drain = Drain()
    app = create_app(
        Database(settings.database_url, max_size=MAX_CONNECTIONS, application_name="taskflow api"),
        secret=settings.secret_key.encode(),
        development=settings.is_development,
        cors_origins=settings.cors_origins,
        public_url=settings.public_url,
        limits=RateLimits(
            {
                LimitName.READ: settings.rate_limit_read,
                LimitName.WRITE: settings.rate_limit_write,
                LimitName.STREAM: settings.rate_limit_stream,
                LimitName.WORK: settings.rate_limit_work,
                LimitName.FAILURES: settings.rate_limit_failures,
            }
        ),
        drain=drain,
    )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # whoever calls is who calls; addresses from headers would be anybody's word
        timeout_graceful_shutdown=DRAIN_S,
    )
    with traced(settings):
        uvloop.run(_serve(_Server(config, drain.begin), listener, control_fd))


class _Server(uvicorn.Server):
    """
    uvicorn's, which also says when it answers, and whom an obeyed signal does not kill afterwards.

    Args:
        on_exit: called on the loop when it is told to end.
    """

    def __init__(self, config: uvicorn.Config, on_exit: Callable[[], None]) -> None:
        super().__init__(config)
        self.answers = asyncio.Event()
        self._on_exit = on_exit
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.answers.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._on_exit)


async def _serve(server: _Server, listener: socket.socket, control_fd: int | None) -> None:
    """Serve until the server is told to end, with a channel to the supervisor if there is one."""

    async def prove_life(channel: ControlChannel) -> None:
        await server.answers.wait()
        channel.mark_ready()
        await channel.run()

    async with asyncio.TaskGroup() as group:
        control = None
        if control_fd is not None:
            channel = ControlChannel(control_fd, on_orphaned=lambda: server.handle_exit(0, None), grace_s=DRAIN_S)
            control = group.create_task(prove_life(channel), name="control channel")
        await server.serve(sockets=[listener])
        if control is not None:
            control.cancel()


def _listener(settings: Settings, fd: int | None) -> socket.socket:
    if fd is not None:
        return socket.socket(fileno=fd)
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise SetupError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; choose another with --port"
        ) from error
