"""A pool that says no: two workers, three places to wait, and a refusal for the rest."""

import asyncio


async def work(name: str, queue: asyncio.Queue[str]) -> None:
    while True:
        print(name, "does", await queue.get())
        await asyncio.sleep(0.02)  # the work
        queue.task_done()


async def main() -> None:
    queue: asyncio.Queue[str] = asyncio.Queue(maxsize=3)
    workers = [asyncio.create_task(work(name, queue)) for name in ("w1", "w2")]
    for number in range(1, 6):
        try:
            queue.put_nowait(f"job {number}")
        except asyncio.QueueFull:
            print(f"503 for job {number}: {queue.maxsize} jobs wait, the limit")
    await queue.join()
    [task.cancel() for task in workers]


asyncio.run(main())
