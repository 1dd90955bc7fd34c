"""A worker over HTTP in a test: what it says, in few words."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import httpx

from taskflow.db.pool import Database
from taskflow.engine.job import WorkerId
from taskflow.engine.leader import Leader
from taskflow.engine.reaper import Reaper
from taskflow.engine.store import Store
from tests.support.api import Api

RESIZE = {
    "taskType": "resize",
    "queue": "images",
    "retries": 1,
    "timeout": 20_000,
    "schema": {
        "type": "object",
        "properties": {"width": {"type": "integer", "minimum": 1}, "note": {"type": "string"}},
        "required": ["width"],
        "additionalProperties": False,
    },
}


async def reap(database: Database) -> int:
    """Rescue as the leader does once it has led for long enough; return how many leases."""
    leader = Leader(database, Store(), WorkerId(uuid4()))
    return await Reaper(database, Store(), leader, wake=lambda _queues: None).reap()


class RemoteTester:
    """
    Speaks for one worker.

    Args:
        client: with a key that has the scope `worker`, and `jobs:write` to submit.
    """

    def __init__(self, api: Api, client: httpx.AsyncClient) -> None:
        self.api = api
        self.client = client
        self.worker_id: str | None = None

    async def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return await self.client.post(f"/api/v1/worker/{path}", json=body, headers=headers)

    async def ask(self, path: str, body: Any) -> Any:
        """Return the answer of a request that must succeed."""
        response = await self.post(path, body)
        assert response.status_code == 200, response.text
        return response.json()

    async def publish(self, *kinds: dict[str, Any]) -> None:
        await self.ask("kinds", {"kinds": list(kinds) or [RESIZE]})

    async def submit(self, width: int = 640, **fields: Any) -> str:
        body = {"taskType": "resize", "payload": {"width": width}, **fields}
        response = await self.client.post("/api/v1/jobs", json=body)
        assert response.status_code == 201, response.text
        job_id: str = response.json()["jobId"]
        return job_id

    async def claim(self, capacity: int = 10, **fields: Any) -> list[dict[str, Any]]:
        """Claim as this worker, which the first claim makes."""
        said = {"workerId": self.worker_id, "taskTypes": ["resize"], "capacity": capacity, **fields}
        answer = await self.ask("claim", said)
        self.worker_id = answer["workerId"]
        jobs: list[dict[str, Any]] = answer["jobs"]
        return jobs

    async def claim_one(self, **fields: Any) -> dict[str, Any]:
        [job] = await self.claim(1, **fields)
        return job

    async def complete(self, *tokens: str, result: Any = None) -> list[str]:
        """Return what became of each."""
        answer = await self.ask("complete", {"items": [{"token": token, "result": result} for token in tokens]})
        return [item["status"] for item in answer["items"]]

    async def fail(self, *tokens: str, **fields: Any) -> list[str]:
        error = {"type": "HttpError", "message": "502 from upstream"}
        answer = await self.ask("fail", {"items": [{"token": token, "error": error, **fields} for token in tokens]})
        return [item["status"] for item in answer["items"]]

    async def hand_back(self, *tokens: str) -> list[str]:
        answer = await self.ask("hand-back", {"items": [{"token": token} for token in tokens]})
        return [item["status"] for item in answer["items"]]

    async def beat(self, tokens: Sequence[str] | None = None) -> Any:
        return await self.ask("heartbeat", {"workerId": self.worker_id, "tokens": tokens})

    async def job(self, job_id: str) -> Any:
        return (await self.client.get(f"/api/v1/jobs/{job_id}")).json()

    async def cancel(self, job_id: str) -> None:
        assert (await self.client.post(f"/api/v1/jobs/{job_id}/cancel")).status_code in {200, 202}

    # Time that passes, by moving what is compared with now.

    async def be_silent(self, seconds: float) -> None:
        """Let the last sign of life of every worker over HTTP be so much longer ago."""
        await self._execute(
            "UPDATE taskflow.worker SET heartbeat_at = heartbeat_at - $1 * interval '1 s' WHERE namespace IS NOT NULL",
            seconds,
        )

    async def hold(self, seconds: float) -> None:
        """Let every claim be so much longer ago."""
        await self._execute("UPDATE taskflow.lease SET claimed_at = claimed_at - $1 * interval '1 s'", seconds)

    async def _execute(self, statement: str, *arguments: Any) -> None:
        async with self.api.database.acquire() as connection:
            await connection.execute(statement, *arguments)
