"""The built-in kinds that work on files, all the way: uploaded, run in a process of its own, downloaded."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pypdf
import pytest
from PIL import Image
from tests.handlers.test_image import picture, png_of
from tests.support.up import Up, wait_until


@pytest.mark.covers("S2-14", "S2-15", "S2-42", "S3-20", "S2-1")
def test_files_go_in_and_come_out_changed(made: Path, up: Callable[..., Up]) -> None:
    assert made.exists()
    one = up(environ={"SMTP_URL": "smtp://me:hunter2@127.0.0.1:1"}).wait_ready()
    with one.client(timeout_s=30.0) as client:

        def put(content: bytes) -> str:
            return str(client.post("/files", files={"file": ("f", content)}).raise_for_status().json()["id"])

        def run(kind: str, payload: dict[str, Any], *, retries: int = 0) -> dict[str, Any]:
            submit = {"taskType": kind, "payload": payload, "retries": retries}
            job = client.post("/jobs", json=submit).raise_for_status().json()
            path = f"/jobs/{job['jobId']}"
            wait_until(lambda: read(client, path)["status"] in {"completed", "failed"}, 30)
            return read(client, path)

        def content_of(job: dict[str, Any]) -> bytes:
            assert job["status"] == "completed", job
            return client.get(f"/files/{job['result']['file']}/content").raise_for_status().content

        photo = put(picture((600, 400), format="JPEG"))
        small = run("resize_image", {"file": photo, "width": 60})
        assert Image.open(io.BytesIO(content_of(small))).size == (60, 40)
        child = one.attempts()[0]  # it stays for the next job
        told = Path(f"/proc/{child}/environ").read_bytes()
        assert b"TASKFLOW_DATABASE_URL=" in told
        assert b"TASKFLOW_SECRET_KEY" not in told
        assert b"SMTP_URL" not in told
        bomb = run("resize_image", {"file": put(png_of(50_000, 50_000)), "width": 60}, retries=3)
        assert (bomb["status"], bomb["failureReason"], bomb["attempt"]) == ("failed", "permanent", 1)
        assert "over the limit of 50 million" in bomb["error"]
        forced = run("resize_image", {"file": photo, "width": 60, "forceFail": True})
        assert (forced["status"], forced["failureReason"]) == ("failed", "exhausted")

        document = run("generate_pdf", {"markdown": f"# Shop\n\n![it](taskflow:{photo})"})
        assert "Shop" in pypdf.PdfReader(io.BytesIO(content_of(document))).pages[0].extract_text()

        asked = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "format": "csv"}
        assert content_of(run("REPORT", asked)).startswith(b"section,hour,taskType")


def read(client: httpx.Client, path: str) -> dict[str, Any]:
    job: dict[str, Any] = client.get(path).raise_for_status().json()
    return job
