"""Clients that submit without pause, in threads, and note what they were answered."""

import threading
import time
from collections import Counter

import httpx

from tests.support.up import MAIL


class Load:
    """
    `with Load(url, key) as load:` submits mails; `answered` has each job and whether it fails on purpose.

    Args:
        url: of the API, without `/api/v1`.
        patience_s: after how long a client gives up on an answer.
    """

    def __init__(self, url: str, key: str, *, clients: int = 4, patience_s: float = 15.0) -> None:
        self.answered: dict[str, bool] = {}
        self.unanswered = 0
        self.refused: Counter[str] = Counter()  # by status and what the answer said
        self.last_answered_s = 0.0  # monotonic
        self._stop = threading.Event()
        self._url = f"{url}/api/v1/jobs"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._patience_s = patience_s
        self._threads = [threading.Thread(target=self._submit, args=(number,)) for number in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _submit(self, number: int) -> None:
        count = 0
        with httpx.Client(headers=self._headers, timeout=self._patience_s) as client:
            while not self._stop.wait(0.01):
                count += 1
                fails = count % 7 == number
                body = {**MAIL, "payload": {**MAIL["payload"], "forceFail": fails}, "retries": count % 2}  # type: ignore[dict-item]
                try:
                    answer = client.post(self._url, json=body)
                except httpx.TransportError:
                    self.unanswered += 1
                    continue
                if answer.status_code == httpx.codes.CREATED:
                    self.answered[answer.json()["jobId"]] = fails
                    self.last_answered_s = time.monotonic()
                else:
                    self.refused[f"{answer.status_code} {answer.text[:200]}"] += 1
