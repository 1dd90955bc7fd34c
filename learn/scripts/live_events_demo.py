#!/usr/bin/env python3
"""
Live events: a task is created, updated and deleted, and a socket hears of each.

    python3 learn/scripts/live_events_demo.py

To watch from a second terminal as well, start the server and `websocket_client.py` first.
"""

import asyncio
from time import perf_counter
from typing import Any

from demo_console import Api, running_server, say, summary, title
from demo_socket import Socket, open_socket

GAP_S = 0.5  # long enough to see the events come one by one


async def act_and_hear(socket: Socket, method: str, path: str, api: Api, body: object = None) -> tuple[Any, float]:
    """Do something; return its answer, and how many milliseconds passed from asking until the event was here."""
    begun = perf_counter()
    asking = asyncio.create_task(asyncio.to_thread(api.ask, method, path, body), name=method)
    event = await socket.hear()
    heard_ms = (perf_counter() - begun) * 1000
    answer = await asking
    name = event["task"].get("title", event["task"]["id"])
    say(f"  {method:<6} {path[:14]:<14} → {answer.status}    event {event['type']:<12}  {name}  ({heard_ms:.1f} ms)")
    await asyncio.sleep(GAP_S)
    return answer.data, heard_ms


async def run(api: Api) -> list[float]:
    title("Live events")
    async with open_socket(api.url.replace("http", "ws", 1) + "/ws/tasks") as socket:
        ready = await socket.hear()
        say(f"  connected as {ready['clientId']}, in the rooms {ready['subscribedRooms']}")
        task, created_ms = await act_and_hear(socket, "POST", "/tasks", api, {"title": "Watch me", "priority": 5})
        path = f"/tasks/{task['id']}"
        _, updated_ms = await act_and_hear(socket, "PUT", path, api, {"status": "in-progress", "priority": 9})
        _, deleted_ms = await act_and_hear(socket, "DELETE", path, api)
    return [created_ms, updated_ms, deleted_ms]


def main() -> None:
    with running_server() as api:
        times_ms = asyncio.run(run(api))
    summary(
        [
            "The server speaks first: nobody asked whether something had changed.",
            "One write goes to every listener; it is encoded once, and a slow listener is not waited for.",
            "The event carries the requestId of the request that caused it, so the log tells the whole story.",
        ],
        [("from asking to hearing the event, slowest of three", f"{max(times_ms):.1f} ms")],
    )


if __name__ == "__main__":
    main()
