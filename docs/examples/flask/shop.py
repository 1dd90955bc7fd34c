"""
Sign-ups over HTTP, without an event loop.

    taskflow up
    taskflow worker --app shop:jobs     in this directory
    flask --app shop run
"""

from typing import Any

from flask import Flask, request

from taskflow import Invalid, JobContext, TaskFlow

jobs = TaskFlow()
web = Flask(__name__)


@jobs.job("greet", queue="mails", retries=5, timeout_s=20)
def greet(ctx: JobContext, name: str, language: str = "en") -> str:
    """A plain function: it runs in a process of its own, and is stopped when its time is over."""
    ctx.log(f"greeting {name}")
    return {"en": "Hello", "de": "Hallo"}.get(language, "Hi") + f", {name}!"


@web.post("/people")
def sign_up() -> tuple[dict[str, Any], int]:
    with jobs.transaction_sync() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS person (name text PRIMARY KEY)")
        connection.execute("INSERT INTO person VALUES (%s)", [request.json["name"]])
        handle = greet.options(connection=connection).enqueue_sync(**request.json)
    return {"job": str(handle.job_id)}, 201


@web.get("/jobs/<job_id>")
def status(job_id: str) -> dict[str, Any]:
    job = greet.handle(job_id).job_sync()
    return {"status": job.state, "result": job.result}


@web.errorhandler(Invalid)
def invalid(error: Invalid) -> tuple[dict[str, Any], int]:
    return {"errors": {item.pointer[1:]: item.detail for item in error.errors}}, 422
