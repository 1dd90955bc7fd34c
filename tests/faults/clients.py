"""
Who uses the deployment: threads that submit by REST and by the SDK, and a receiver of callbacks.

Each notes what it is about to ask before it asks, and what it was told. Of an answer that does not come it notes that
nobody knows (`events.Unknown`); with an Idempotency-Key it asks again.
"""

import itertools
import json
import random
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import psycopg

from taskflow.kernel.errors import Invalid, Unavailable
from tests.faults import shop
from tests.history.events import Answered, CallbackCame, Called, Refused, Unknown
from tests.history.recorder import Recorder, now

KEYS = 6  # unique keys in use at once
TRIES = 8  # of one submit with an Idempotency-Key
PAUSE_S = (0.02, 0.14)
RETRY_PAUSE_S = 0.4
TIMEOUT_S = 12.0
KINDS = ("note", "note", "note", "threaded", "crunch", "book", "book", "book_sync", "narrow", "narrow", "single",
         "single", "flaky", "doomed")  # fmt: skip
LONG = ("note", "book")  # kinds that may be told to take longer, to be caught in the middle
OK = (200, 201, 202)
MAYBE_STORED = 500  # and above; also 409 (a twin is at work) and 429


class Client(threading.Thread):
    """Submits without pause until it is told to stop. *strange* has answers that nobody may give."""

    def __init__(self, name: str, seed: int, recorder: Recorder, callback_url: str) -> None:
        super().__init__(name=name)
        self.strange: list[str] = []
        self._random = random.Random(f"{seed} {name}")
        self._recorder = recorder
        self._callback_url = callback_url
        self._over = threading.Event()
        self._numbers = itertools.count(1)

    def stop(self) -> None:
        self._over.set()

    def run(self) -> None:
        try:
            while not self._over.wait(self._random.uniform(*PAUSE_S)):
                self.submit(f"{self.name}-{next(self._numbers)}", self._random.choice(KINDS))
        except Exception as error:  # noqa: BLE001 -- a thread's end is told by nobody else
            self.strange.append(f"{self.name}: {type(error).__name__}: {error}")

    def submit(self, op: str, kind: str) -> None:
        raise AssertionError("of each kind of client")

    def _call(self, op: str, *, key: str | None = None, unique_key: str | None = None) -> None:
        self._recorder.record(Called(at=now(), op=op, key=key, unique_key=unique_key))

    def _unknown(self, op: str, why: object) -> None:
        self._recorder.record(Unknown(at=now(), op=op, why=str(why)[:200]))

    def _answered(self, op: str, job_id: object) -> None:
        self._recorder.record(Answered(at=now(), op=op, job_id=str(job_id)))

    def _refused(self, op: str, why: object) -> None:
        self._recorder.record(Refused(at=now(), op=op, why=str(why)[:200]))

    def _draw(self, op: str, kind: str) -> tuple[dict[str, Any], str | None, str | None]:
        """Return payload, unique key and its scope."""
        payload: dict[str, Any] = {"op": op}
        if kind in LONG and self._random.random() < 0.25:
            payload["takes_s"] = round(self._random.uniform(0.5, 3.0), 2)
        if kind != "single":
            return payload, None, None
        number = self._random.randrange(KEYS)
        return payload, f"key-{number}", "until_claimed" if number % 2 else "until_finished"


class RestClient(Client):
    """Over HTTP, to one of the APIs each time."""

    def __init__(self, number: int, seed: int, recorder: Recorder, callback_url: str, urls: Sequence[str], key: str):
        super().__init__(f"rest{number}", seed, recorder, callback_url)
        self._urls = urls
        self._client = httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_S)

    def run(self) -> None:
        with self._client:
            super().run()

    def submit(self, op: str, kind: str) -> None:
        payload, unique_key, scope = self._draw(op, kind)
        body: dict[str, Any] = {"taskType": kind, "payload": payload}
        if unique_key is not None:
            body |= {"uniqueKey": unique_key, "uniqueScope": scope}
        if self._random.random() < 0.15:
            body["callbackUrl"] = self._callback_url
        if self._random.random() < 0.1:
            body["delay"] = self._random.randrange(1, 3000)
        wrong = self._random.random() < 0.03
        if wrong:
            payload["colour"] = "no such field"
        key = op if self._random.random() < 0.5 else None
        for _ in range(TRIES if key is not None else 1):
            if self._ask(op, body, key, unique_key, wrong=wrong) or self._over.wait(RETRY_PAUSE_S):
                return

    def _ask(self, op: str, body: dict[str, Any], key: str | None, unique_key: str | None, *, wrong: bool) -> bool:
        """Ask once; True if there is an answer."""
        self._call(op, key=key, unique_key=unique_key)
        headers = {} if key is None else {"Idempotency-Key": key}
        try:
            answer = self._client.post(f"{self._random.choice(self._urls)}/jobs", json=body, headers=headers)
        except httpx.TransportError as error:
            self._unknown(op, type(error).__name__)
            return False
        status, words = answer.status_code, f"{answer.status_code} {answer.text[:160]}"
        if status in OK:
            self._answered(op, answer.json()["jobId"])
        elif status >= MAYBE_STORED or status in (409, 429):
            self._unknown(op, words)
            if status not in (503, 409, 429):
                self.strange.append(f"{op}: {words}")
            return False
        else:
            self._refused(op, words)
            if not wrong:
                self.strange.append(f"{op}: {words}")
        return True


class SdkClient(Client):
    """By `app.job(…).enqueue_sync`: alone, or in a transaction of its own, which it may roll back."""

    def __init__(self, number: int, seed: int, recorder: Recorder, callback_url: str, url: str) -> None:
        super().__init__(f"sdk{number}", seed, recorder, callback_url)
        self._url = url

    def submit(self, op: str, kind: str) -> None:
        payload, unique_key, scope = self._draw(op, kind)
        more: dict[str, Any] = {} if unique_key is None else {"unique_key": unique_key, "unique_scope": scope}
        if self._random.random() < 0.15:
            more["callback_url"] = self._callback_url
        self._call(op, unique_key=unique_key)
        rolls_back = self._random.random() < 0.1
        try:
            if rolls_back or self._random.random() < 0.3:
                job_id = self._submit_inside(kind, payload, more, rolls_back=rolls_back)
            else:
                job_id = shop.app.jobs[kind].options(**more).enqueue_sync(**payload).job_id
        except (Unavailable, psycopg.OperationalError, psycopg.errors.InternalError_) as error:
            self._unknown(op, f"{type(error).__name__}: {error}")
        except Invalid as error:
            self._refused(op, error)
            self.strange.append(f"{op}: {error}")
        else:
            if job_id is None:
                self._refused(op, "rolled back")
            else:
                self._answered(op, job_id)

    def _submit_inside(self, kind: str, payload: dict[str, Any], more: dict[str, Any], *, rolls_back: bool) -> Any:
        with psycopg.connect(self._url, connect_timeout=5) as connection:
            job = shop.app.jobs[kind].options(**more, connection=connection).enqueue_sync(**payload)
            if rolls_back:
                connection.rollback()
                return None
            connection.commit()
            return job.job_id


class Receiver:
    """Takes callbacks; some it refuses or hangs up on, while it is *moody*."""

    def __init__(self, seed: int, recorder: Recorder) -> None:
        self.is_moody = True
        rng, lock, receiver = random.Random(f"{seed} receiver"), threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    mood = rng.random() if receiver.is_moody else 1.0
                came = CallbackCame(
                    at=now(),
                    message_id=self.headers["webhook-id"],
                    job_id=json.loads(body)["data"]["jobId"],
                    taken=mood > 0.15,
                )
                recorder.record(came)
                if mood < 0.05:
                    self.close_connection = True
                    return
                self.send_response(204 if came.taken else 500)
                self.end_headers()

            def log_message(self, *_words: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver")
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/done"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
