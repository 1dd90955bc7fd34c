"""
A script and its job.

    taskflow up
    taskflow worker --app jobs:app     in this directory
    python jobs.py
"""

import asyncio
from dataclasses import dataclass

from taskflow import JobContext, TaskFlow

app = TaskFlow()


@dataclass
class Count:
    words: int
    longest: str


@app.job("count_words", queue="texts", timeout_s=10)
async def count_words(ctx: JobContext, text: str) -> Count:
    words = text.split()
    ctx.progress(0.5, "split")
    ctx.log(f"{len(words)} words")
    return Count(len(words), max(words, key=len, default=""))


async def main() -> None:
    handle = await count_words.enqueue("the quick brown fox jumps")
    print(handle.job_id)
    print(await handle.result(timeout_s=30))


if __name__ == "__main__":
    asyncio.run(main())
