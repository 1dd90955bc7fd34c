#!/usr/bin/env python3
"""
The full demo: nine steps through everything the server does, with the numbers measured on the way.

    python3 learn/scripts/full_demo.py

Environment: BASE_URL (default http://localhost:3000; without it a server is started if none runs), ADMIN_TOKEN,
USER_TOKEN (default: those of .env), ITERATIONS (default 20000000, at most 200000000: how long the CPU steps compute).
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from statistics import mean
from time import perf_counter
from typing import Any

from demo_console import USER_TOKEN, Api, fail, percentile, running_server, say, summary, table, title
from demo_socket import open_socket

HIGH_ITERATIONS = 350_000_000
ROWS = 100_000


class Demo:
    """Each step prints what it does, and keeps what the summary needs."""

    def __init__(self, api: Api, iterations: int) -> None:
        self.api = api
        self.iterations = iterations
        self.measured: list[tuple[str, str]] = []
        self._created: list[str] = []

    def create(self, name: str, **fields: Any) -> dict[str, Any]:
        task: dict[str, Any] = self.api.post("/tasks", {"title": name, **fields})
        self._created.append(task["id"])
        return task

    def clean_up(self) -> None:
        for task_id in self._created:
            self.api.ask("DELETE", f"/tasks/{task_id}")
        self.api.ask("POST", "/demo/memory/clear")

    def step_1_health(self) -> None:
        """Health: is anybody there?"""
        answer = self.api.ask("GET", "/health", token=None)
        say(f"  GET /health → {answer.status} {answer.data['status']}, up for {answer.data['uptimeSeconds']} s")

    def step_2_access(self) -> None:
        """Access: who may do what"""
        nobody = self.api.ask("GET", "/tasks", token=None)
        reader = self.api.ask("POST", "/tasks", {"title": "not allowed"}, token=USER_TOKEN)
        say(f"  without a token       → {nobody.status} {nobody.data['error']}")
        say(f"  a user tries to write → {reader.status} {reader.data['error']}")

    def step_3_priority(self) -> None:
        """Priority: the most urgent first, equals in order of arrival"""
        for name, priority in (("water the plants", 2), ("put out the fire", 10), ("call the fire brigade", 10)):
            self.create(name, priority=priority)
        top = self.api.get("/tasks/next")
        say(f"  GET /tasks/next → {top['title']} (priority {top['priority']})")
        times_ms = [self.api.ask("GET", "/tasks/next").duration_ms for _ in range(50)]
        self.measured.append(("GET /tasks/next with a new connection, median", f"{percentile(times_ms, 0.5):.2f} ms"))

    def step_4_dependencies(self) -> None:
        """Dependencies: an order, or the reason why there is none"""
        wall = self.create("build the wall")
        paint = self.create("paint the wall", dependencies=[wall["id"]])
        order = self.api.get(f"/tasks/{paint['id']}/resolve")["orderedTasks"]
        say(f"  resolve → {', then '.join(task['title'] for task in order)}")
        self.api.put(f"/tasks/{wall['id']}", {"dependencies": [paint["id"]]})
        circle = self.api.ask("GET", f"/tasks/{paint['id']}/resolve")
        say(f"  a circle → {circle.status} {circle.data['error']['code']}: {circle.data['error']['message']}")
        self.api.put(f"/tasks/{wall['id']}", {"dependencies": []})

    def step_5_live_events(self) -> None:
        """Live events: the server speaks first"""

        async def listen() -> list[str]:
            async with open_socket(self.api.url.replace("http", "ws", 1) + "/ws/tasks") as socket:
                await socket.hear()
                task = await asyncio.to_thread(self.create, "seen by everybody")
                await asyncio.to_thread(self.api.put, f"/tasks/{task['id']}", {"status": "completed"})
                await asyncio.to_thread(self.api.delete, f"/tasks/{task['id']}")
                return [(await socket.hear())["type"] for _ in range(3)]

        say(f"  heard: {', '.join(asyncio.run(listen()))}")

    def step_6_blocking(self) -> None:
        """CPU work on the event loop: everybody waits"""
        idle = [self.api.ask("GET", "/demo/cpu/ping").duration_ms for _ in range(50)]
        self._ping_while(f"/demo/cpu/blocking?iterations={self.iterations}", "while the loop computes")
        self.measured.insert(1, ("ping, idle server, p95", f"{percentile(idle, 0.95):.1f} ms"))

    def step_7_worker(self) -> None:
        """The same work in a worker: nobody notices"""
        self._ping_while(f"/demo/cpu/worker/run?iterations={self.iterations}", "while a worker computes")
        self._ping_while(f"/tasks/reports/worker-run?iterations={min(self.iterations, 120_000_000)}", "during a report")

    def step_8_streams(self) -> None:
        """Streams: a large answer at flat memory"""
        before = self.api.get("/demo/memory/stats")["memory"]["rss"]
        answer = self.api.ask("GET", f"/demo/stream/csv?count={ROWS}")
        after = self.api.get("/demo/memory/stats")["memory"]["rss"]
        size_mb, grown_mb = len(answer.data) / 1e6, (after - before) / 1e6
        say(f"  {ROWS:,} rows of CSV, {size_mb:.1f} MB; the server's memory grew by {grown_mb:.1f} MB")
        self.measured.append((f"streaming {ROWS:,} rows", f"{ROWS / answer.duration_ms * 1000:,.0f} rows/s"))
        self.measured.append(("memory grown by that", f"{grown_mb:.1f} MB of {size_mb:.1f} MB sent"))

    def step_9_memory(self) -> None:
        """Memory: a cache without a limit, and one with"""
        for _ in range(5):
            leak = self.api.post("/demo/memory/leak?count=100&sizeKb=32")
            safe = self.api.post("/demo/memory/safe?count=100&sizeKb=32")
        leaked, kept = leak["intentionalLeakCacheSize"], safe["safeCacheSize"]
        say(f"  500 entries each: the leak keeps {leaked}, the bounded cache {kept}")
        cleared = self.api.post("/demo/memory/clear")
        say(f"  cleared: {cleared['intentionalLeakCacheSize']} and {cleared['safeCacheSize']}")
        self.measured.append(("entries kept of 500, leak and bounded cache", f"{leaked} and {kept}"))

    def _ping_while(self, path: str, label: str) -> None:
        """Ask for *path*, and ping until it has answered."""
        pings = []
        with ThreadPoolExecutor(1) as background:
            begun = perf_counter()
            computing = background.submit(self.api.get, path)
            while not computing.done():
                pings.append(self.api.ask("GET", "/demo/cpu/ping").duration_ms)
            computing.result()
            duration_ms = (perf_counter() - begun) * 1000
        say(f"  {path.partition('?')[0]} took {duration_ms:,.0f} ms")
        table([("pings meanwhile", f"{len(pings)}, mean {mean(pings):.1f} ms, slowest {max(pings):,.1f} ms")])
        self.measured.append((f"ping {label}, p95 / slowest", f"{percentile(pings, 0.95):,.1f} / {max(pings):,.1f} ms"))


def main() -> None:
    text = os.environ.get("ITERATIONS", "20000000")
    if not text.isdigit() or not 1 <= int(text) <= HIGH_ITERATIONS:
        fail(f"ITERATIONS must be a whole number from 1 to {HIGH_ITERATIONS}, got {text!r}")
    with running_server() as api:
        demo = Demo(api, int(text))
        steps = [getattr(demo, name) for name in sorted(dir(demo)) if name.startswith("step_")]
        try:
            for number, step in enumerate(steps, 1):
                title(f"{number}/{len(steps)}  {step.__doc__}")
                step()
        finally:
            demo.clean_up()
    summary(
        [
            "A chain of small links decides who may do what, before any handler runs.",
            "A heap finds the most urgent task at once, and a stable one is fair to equals.",
            "Dependencies have an order exactly if there is no circle.",
            "A socket tells what happened; nobody has to ask.",
            "One computation on the event loop stops everybody; in a worker process it stops nobody.",
            "A stream with back-pressure sends any amount at flat memory.",
            "A cache without a limit is a leak.",
        ],
        demo.measured,
    )


if __name__ == "__main__":
    main()
