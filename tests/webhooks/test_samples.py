"""The receivers of docs/how-to/callbacks.md do what the page says."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from tests.support.up import free_port, wait_until

from taskflow.http.secret import RootSecret
from taskflow.webhooks.signature import sign, signing_secret

PAGE = Path(__file__).parents[2] / "docs/how-to/callbacks.md"
SECRET = signing_secret(RootSecret(b"k" * 32), UUID(int=0))
BODY = json.dumps({"type": "job.completed", "data": {"jobId": "7"}}).encode()


def sample(language: str) -> str:
    found = re.search(rf"<!-- sample: {language} -->\n```\w+\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def signed(number: int = 1, age_s: int = 0) -> dict[str, str]:
    return sign(SECRET, UUID(int=number), int(time.time()) - age_s, BODY)


def test_the_python_receiver_takes_what_we_sign_once_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    names: dict[str, object] = {"__name__": "sample"}
    exec(compile(sample("python"), str(PAGE), "exec"), names)
    client = names["app"].test_client()  # type: ignore[attr-defined]
    statuses = [
        client.post("/done", data=body, headers=headers).status_code
        for body, headers in ((BODY, signed()), (BODY, signed()), (b"{}", signed()), (BODY, signed(age_s=3600)))
    ]
    assert statuses == [204, 204, 401, 401]
    assert capsys.readouterr().out == "job.completed 7\n"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_the_node_receiver_takes_what_we_sign_once_and_nothing_else(tmp_path: Path) -> None:
    program = tmp_path / "receiver.mjs"
    program.write_text(sample("node"))
    port = free_port()
    environ = {"WEBHOOK_SECRET": SECRET, "PORT": str(port)}
    with subprocess.Popen(
        [str(shutil.which("node")), str(program)], env=environ, stdout=subprocess.PIPE, text=True
    ) as node:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:

                def listens() -> bool:
                    try:
                        return client.post("/done", content=b"").status_code == 401
                    except httpx.ConnectError:
                        return False

                wait_until(listens)
                statuses = [
                    client.post("/done", content=body, headers=headers).status_code
                    for body, headers in (
                        (BODY, signed()),
                        (BODY, signed()),
                        (b"{}", signed()),
                        (BODY, signed(age_s=3600)),
                        (BODY, {**signed(), "webhook-signature": "v1,AAAA"}),
                    )
                ]
        finally:
            node.kill()
        assert node.stdout is not None
        assert node.stdout.read() == "job.completed 7\n"
    assert statuses == [204, 204, 401, 401, 401]
