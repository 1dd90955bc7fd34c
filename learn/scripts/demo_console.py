"""What the scripts share: a small HTTP client, a server if none is running, and readable output."""

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn
from urllib.parse import urlsplit

SOURCES = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCES))  # so that a script runs as it is, with nothing installed and no PYTHONPATH

from taskflow_learn.config import environment, find_dotenv  # noqa: E402

DEFAULT_URL = "http://localhost:3000"
_SETTINGS = environment(os.environ, find_dotenv())  # the same tokens as the server finds
ADMIN_TOKEN = _SETTINGS.get("ADMIN_TOKEN", "")
USER_TOKEN = _SETTINGS.get("USER_TOKEN", "")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    data: Any  # the JSON of the body, or its text
    duration_ms: float


class Api:
    """Asks the server, on a connection per question, so that threads may share it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._address = urlsplit(url).netloc

    def ask(self, method: str, path: str, body: object = None, *, token: str | None = ADMIN_TOKEN) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        begun = perf_counter()
        connection = http.client.HTTPConnection(self._address, timeout=120)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read().decode()
        finally:
            connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        data = json.loads(content) if is_json and content else content
        return Answer(response.status, data, (perf_counter() - begun) * 1000)

    def get(self, path: str) -> Any:
        return self._expect(self.ask("GET", path), path)

    def post(self, path: str, body: object = None) -> Any:
        return self._expect(self.ask("POST", path, body), path)

    def put(self, path: str, body: object) -> Any:
        return self._expect(self.ask("PUT", path, body), path)

    def delete(self, path: str) -> None:
        self._expect(self.ask("DELETE", path), path)

    def _expect(self, answer: Answer, path: str) -> Any:
        if answer.status >= 400:
            fail(f"{path} answered {answer.status}: {json.dumps(answer.data)[:300]}")
        return answer.data


@contextmanager
def running_server() -> Iterator[Api]:
    """Give the server at `BASE_URL`; if that is not set and nothing runs on port 3000, start one for the time being."""
    url = os.environ.get("BASE_URL", DEFAULT_URL).rstrip("/")
    if _answers(url):
        yield Api(url)
        return
    if "BASE_URL" in os.environ:
        fail(f"nothing answers at {url}; start the server, or unset BASE_URL to let this script start one")
    process = subprocess.Popen(
        [sys.executable, "-m", "taskflow_learn"],
        env={**os.environ, "PORT": "0", "PYTHONPATH": str(SOURCES)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout
    try:
        url = next((line.split()[-1] for line in output if " started on " in line), "")
        # Its log must be read, or the pipe fills up and the server waits for us: back-pressure, where nobody wants it.
        threading.Thread(target=lambda: [None for _ in output], daemon=True).start()
        say(f"No server is running, so one was started for this script: {url}")
        yield Api(url)
    finally:
        process.terminate()
        process.wait()
        output.close()


def _answers(url: str) -> bool:
    try:
        return Api(url).ask("GET", "/health", token=None).status == 200
    except (OSError, ValueError, http.client.HTTPException):
        return False


def fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def say(text: str = "") -> None:
    print(text, flush=True)


def title(text: str) -> None:
    say(f"\n{text}\n{'─' * len(text)}")


def table(rows: list[tuple[str, str]]) -> None:
    """Print names and values in two columns."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"  {name:<{width}}  {value}")


def summary(learned: list[str], measured: list[tuple[str, str]]) -> None:
    """End a script: what it showed, and the numbers behind it."""
    title("Summary")
    say("What was learned:")
    for number, lesson in enumerate(learned, 1):
        say(f"  {number}. {lesson}")
    say("\nWhat was measured, on this machine, just now:")
    table(measured)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which *share* of *values* lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
