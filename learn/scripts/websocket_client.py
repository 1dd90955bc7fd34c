#!/usr/bin/env python3
"""
A WebSocket client for the terminal: prints every event, and sends what you type.

    python3 learn/scripts/websocket_client.py [ws://localhost:3000/ws/tasks]

A line that you type is sent as a message: `ping`, `subscribe alpha beta`, `unsubscribe tasks`, or JSON as it is.
"""

import asyncio
import json
import signal
import sys
from contextlib import suppress
from typing import Any

from demo_console import fail, say
from demo_socket import Socket, open_socket
from taskflow_learn.http.wire import EndOfStream
from taskflow_learn.websocket.messages import PeerClosed

DEFAULT_URL = "ws://localhost:3000/ws/tasks"


def message_of(line: str) -> Any:
    """Return the message that a typed *line* means."""
    if line.startswith("{"):
        return json.loads(line)
    kind, *rooms = line.split()
    return {"type": kind, "rooms": rooms} if rooms else {"type": kind}


def show(message: dict[str, Any]) -> None:
    """Print a message: its time and type on a line, the rest below."""
    rest = {name: value for name, value in message.items() if name not in {"type", "timestamp"}}
    say(f"{message.get('timestamp', '')}  {message.get('type')}")
    if rest:
        say("    " + json.dumps(rest, indent=2, ensure_ascii=False).replace("\n", "\n    "))


async def send_lines(socket: Socket) -> None:
    """Send what is typed, until the input ends; then only listen."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip():
            try:
                await socket.send(message_of(line.strip()))
            except ValueError as error:
                say(f"not sent, because it is not JSON: {error}")


async def listen(socket: Socket) -> None:
    while True:
        show(await socket.hear())


async def main(url: str) -> None:
    this = asyncio.current_task()
    assert this is not None
    # Without this, a Ctrl+C at the moment at which the loop begins to wait is noticed only when it is done waiting.
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, this.cancel)
    try:
        async with open_socket(url) as socket:
            say(f"Connected to {url}. Press Ctrl+C to stop.")
            async with asyncio.TaskGroup() as group:
                group.create_task(listen(socket), name="listen")
                group.create_task(send_lines(socket), name="send")
    except* PeerClosed as closed:
        for error in closed.exceptions:
            say(f"The server closed the connection: {error}")
    except* EndOfStream:
        say("The connection is gone.")
    except* OSError as failure:
        fail(f"cannot connect to {url}: {failure.exceptions[0]}")


if __name__ == "__main__":
    with suppress(asyncio.CancelledError):
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else DEFAULT_URL))
