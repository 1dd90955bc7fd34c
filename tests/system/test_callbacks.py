"""Callbacks of a real `taskflow up`, whose worker is killed at the worst moment."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook
from tests.support.up import MAIL, Up, wait_until


@pytest.mark.covers("S2-23", "X-9")
@pytest.mark.usefixtures("made")
def test_a_worker_killed_between_the_call_and_its_bookkeeping_calls_again_with_the_same_id(
    data: Path, up: Callable[..., Up]
) -> None:
    running = up().wait_ready()
    came: list[tuple[dict[str, str], bytes]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append(({name.lower(): value for name, value in self.headers.items()}, body))
            if len(came) == 1:
                running.kill("worker")  # the receiver has it; nobody is left to write that down
                return
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_words: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Receiver) as server, running.client() as client:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/done"
            job = client.post("/jobs", json={**MAIL, "callbackUrl": url}).json()
            path = f"/webhooks/deliveries?jobId={job['jobId']}"

            def delivered() -> bool:
                return any(item["status"] == "delivered" for item in client.get(path).json()["items"])

            wait_until(delivered, 60.0)
            [item] = client.get(path).json()["items"]
            shown = client.get(f"/webhooks/deliveries/{item['deliveryId']}").json()
            secret = client.get("/webhooks/signing-secret").json()["secret"]
        finally:
            server.shutdown()
            thread.join()
    assert len(came) == 2
    assert {headers["webhook-id"] for headers, _ in came} == {f"msg_{item['deliveryId']}"}
    told = [Webhook(secret).verify(body, headers) for headers, body in came]
    assert told[0] == told[1]
    assert told[0]["type"] == "job.completed"
    assert told[0]["data"]["jobId"] == job["jobId"]
    assert [(attempt["outcome"], attempt["response"] is None) for attempt in shown["attempts"]] == [
        ("lost", True),
        ("completed", False),
    ]
