"""What is done with the blocks of the how-to pages about submitting jobs, and about what these read and make."""

import io
import json
import random
from datetime import UTC, datetime, timedelta
from email.parser import Parser
from typing import Any

import httpx
import jsonschema_rs
from PIL import Image
from tests.support.pages import Block, documents, is_like, lines_missing
from tests.support.reader import (
    Reader,
    Step,
    answers,
    check_same,
    is_run_by,
    parses,
    results,
    run,
    saved_as,
    sent_to,
    then,
)
from tests.support.up import wait_until
from tests.system.pages.serving import Outsider, outside

MAIL = {"to": "ada@example.com", "subject": "Hello", "body": "It works."}
HOUR_MS = 3_600_000
NO_SERVER = "a browser's; a request from Node.js could not send the key"


def jobs_of(reader: Reader) -> str:
    """Return the id of the job that was submitted last."""
    job_id: str = reader.answer["jobId"]
    return job_id


# What the reader has before --------------------------------------------------------------------------------------


def has_photo(reader: Reader, _block: Block) -> None:
    """Have a picture, of three to two as in the pages, that does not shrink to nothing."""
    noise = Image.frombytes("RGB", (60, 40), random.Random(7).randbytes(60 * 40 * 3))
    out = io.BytesIO()
    noise.resize((1536, 1024)).save(out, "JPEG")
    (reader.shell.folder / "photo.jpg").write_bytes(out.getvalue())


def has_export(reader: Reader, _block: Block) -> None:
    (reader.shell.folder / "export.csv").write_text("item,price\ntea,1.20\n")


def has_mail(reader: Reader, _block: Block) -> None:
    (reader.shell.folder / "mail.json").write_text(json.dumps(MAIL))


def has_many_jobs(reader: Reader, _block: Block) -> None:
    """Have 1,200 lines of jobs; the 17th is wrong. They are due in an hour: the page does not need them to run."""
    lines: list[dict[str, Any]] = [{"taskType": "send_email", "payload": MAIL, "delay": HOUR_MS} for _ in range(1200)]
    lines[16] = {"taskType": "send_email", "payload": {**MAIL, "to": "nobody"}}
    (reader.shell.folder / "jobs.ndjson").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


# Pages -----------------------------------------------------------------------------------------------------------


def around_now(_reader: Reader) -> dict[str, str]:
    """The page's month is not always the one in which its jobs ended."""
    now = datetime.now(UTC)
    return {
        "2026-11-01T": f"{now - timedelta(days=20):%Y-%m-%dT}",
        "2026-12-01T": f"{now + timedelta(days=1):%Y-%m-%dT}",
    }


BUILT_IN_KINDS = [
    Step("file=@photo.jpg", then(has_photo, run())),
    Step('"height": 427', results(free={"size"})),
    Step('"markdown": "Dear Ada', run()),
    Step('"pages": 1', results(free={"size"})),
    Step('"taskType": "report",', run(instead=around_now)),
    Step('"summary": {', results(free={"size", "summary"})),
]


def answered_once(reader: Reader, block: Block) -> None:
    """The second submit gives the first one's job, as long as that has not ended."""
    assert reader.ask("POST", "/queues/builtin/pause").is_success
    first, second = (documents(reader.shell.run(block.text).out)[0] for _ in range(2))
    assert reader.ask("POST", "/queues/builtin/resume").is_success
    assert (first["jobId"], first.get("duplicate"), second["duplicate"]) == (second["jobId"], None, True)


def taken_once_in_a_window(reader: Reader, block: Block) -> None:
    """A submit with these fields has to be the only one of an hour, although its job has ended."""
    submit = {"taskType": "send_email", "payload": MAIL, **json.loads(block.text)}
    first = reader.ask("POST", "/jobs", json=submit)
    reader.job(first.json()["jobId"])
    second = reader.ask("POST", "/jobs", json=submit)
    assert (first.status_code, second.status_code) == (httpx.codes.CREATED, httpx.codes.OK), second.text
    assert second.json()["jobId"] == first.json()["jobId"]


CONTROL_QUEUES = [
    Step("queues pause images", run(r"^state +paused", r"^state +open")),
    Step("bulk cancel", run(r"^0 jobs cancelled")),
    Step("queues drain images", run(r"^state +draining", r"^state +open")),
    Step("queues limit images 4", run(r"^limit +4", r"^limit +none")),
    Step('"uniqueKey": "receipt-42"', answered_once),
    Step('"uniqueWindow"', taken_once_in_a_window),
    Step("jobs change", run(r"^\S{36}  scheduled$", r"^\S{36}  (pending|active|completed)$")),
    Step("bulk retry", run(r"pending again", r"^0 jobs deleted")),
]


def downloaded(reader: Reader, block: Block) -> None:
    run()(reader, block)
    folder = reader.shell.folder
    whole = (folder / "photo.jpg").read_bytes()
    assert (folder / "downloads" / "photo.jpg").read_bytes() == whole
    assert (folder / "beginning").read_bytes() == whole[:1024]


def linked(reader: Reader, block: Block) -> None:
    answers()(reader, block)
    content = httpx.get(reader.answer["url"]).raise_for_status().content
    assert content == (reader.shell.folder / "photo.jpg").read_bytes()


def deleted(reader: Reader, block: Block) -> None:
    run()(reader, block)
    file_id = reader.shell.run('echo "$id"').id
    assert reader.ask("GET", f"/files/{file_id}").status_code == httpx.codes.NOT_FOUND


FILES = [
    Step("file=@photo.jpg |", then(has_photo, run())),
    Step('"name": "photo.jpg"', answers(free={"size"})),
    Step("files upload photo.jpg", run(r"completed")),
    Step("retentionDays=30", then(has_export, run(r'"expiresAt":"20'))),
    Step("--output-dir downloads", downloaded),
    Step("/link", run()),
    Step("signature=", linked),
    Step("-X DELETE", deleted),
]


def events_as_shown(reader: Reader, block: Block) -> None:
    assert lines_missing(block.text, reader.said.out) == [], reader.said.out
    assert len(reader.said.out.splitlines()) == len(block.text.splitlines()) + reader.said.out.endswith("\n\n")


FOLLOW_LOGS = [
    Step("curl -sN", run()),
    Step("retry: 1000", events_as_shown),
    Step("new EventSource", parses(NO_SERVER)),
    Step("jobs logs --follow", run(r"handed over by file as <email_")),
]


def five_times(reader: Reader, block: Block) -> None:
    run(r'"local":"20\d\d-\d\d-\d\d')(reader, block)
    assert len(reader.answer["items"]) == 5


def made(reader: Reader, block: Block) -> None:
    run()(reader, block)
    assert reader.answer["name"] == "morning mail"
    assert reader.ask("GET", f"/schedules/{reader.answer['scheduleId']}").json()["nextRunAt"]


def changed(reader: Reader, block: Block) -> None:
    run()(reader, block)
    patched, paused, resumed, deleted = documents(reader.said.out)
    assert (patched["cron"], patched["priority"]) == ("0 8 * * MON-FRI", 8)
    assert paused["pausedAt"] is not None
    assert resumed["pausedAt"] is None
    assert reader.ask("GET", f"/schedules/{deleted['scheduleId']}").status_code == httpx.codes.NOT_FOUND


SCHEDULES = [
    Step("/schedules/preview", five_times),
    Step('"catchup": "latest"', saved_as("schedule.json")),
    Step("-d @schedule.json", made),
    Step("-X PATCH", changed),
    Step("schedules list", then(has_mail, run(r"^morning mail +30 7 \* \* MON-FRI +Europe/Berlin", r"^priority +2$"))),
]


def lines_as_shown(reader: Reader, block: Block) -> None:
    check_same(documents(block.text), documents(reader.said.out))


STREAM_SUBMITS = [
    Step("-T jobs.ndjson", then(has_many_jobs, run())),
    Step('"_end": true', lines_as_shown),
    Step("jobs import", run(r"^line 17: /payload/to", r"^1,199 accepted, 1 rejected", code=1)),
]


def known_kinds(reader: Reader, block: Block) -> None:
    run()(reader, block)
    [mail] = [kind for kind in reader.answer["items"] if kind["taskType"] == "send_email"]
    assert jsonschema_rs.validator_for(mail["schema"]).is_valid(MAIL)
    assert mail["defaults"].keys() == {"priority", "retries", "timeout"}


def both_refused(reader: Reader, block: Block) -> None:
    """The job has ended, and has not failed."""
    run()(reader, block)
    assert [answer["status"] for answer in documents(reader.said.out)] == [409, 409]


SUBMIT_JOBS = [
    Step("/api/v1/job-types", known_kinds),
    Step('"delay": 60000', sent_to("/jobs")),
    Step("status=failed&taskType", run(r'"nextCursor":null')),
    Step("/stats?days=1", run(r'"successRate"')),
    Step("--wait", run(r"^status +completed")),
    Step("/cancel", both_refused),
]


def synced_three_times(reader: Reader, block: Block) -> None:
    """The third time, two holidays are new and one has another name."""
    calendar = reader.seen["calendar"] = reader.exits.enter_context(outside())
    days = [f"day {number}" for number in range(1, 13)]
    send = sent_to("/jobs", lambda _reader: {"https://calendar.example": calendar.url})
    for etag, summaries in (("v5", days[:9]), ("v6", [*days[:9], "tenth"]), ("v7", days)):
        calendar.show_holidays(summaries, etag=etag)
        send(reader, block)
        reader.job(jobs_of(reader))
    reader.seen["again"] = lambda: send(reader, block)


def synced(reader: Reader, block: Block) -> None:
    results()(reader, block)
    reader.seen["again"]()
    again = reader.job(jobs_of(reader))["result"]
    assert (again["notModified"], again["version"]) == (True, 3), again


def twelve_rows(reader: Reader, block: Block) -> None:
    run()(reader, block)
    assert (reader.answer["version"], len(reader.answer["items"])) == (3, 12)


def gone(reader: Reader, block: Block) -> None:
    run()(reader, block)
    assert reader.ask("GET", "/datasets/holidays/rows").status_code == httpx.codes.NOT_FOUND


SYNC = [
    Step('"taskType": "sync"', synced_three_times),
    Step('"notModified": false', synced),
    Step("rows?limit=100", twelve_rows),
    Step("-X DELETE", gone),
]


def called_back(reader: Reader, block: Block) -> None:
    receiver = reader.seen["receiver"] = reader.exits.enter_context(outside())
    run(instead={"https://shop.example": receiver.url})(reader, block)
    wait_until(lambda: bool(receiver.came))


def request_as_shown(reader: Reader, block: Block) -> None:
    receiver: Outsider = reader.seen["receiver"]
    [(method, path, headers, body)] = receiver.came
    head, _, shown = block.text.partition("\n\n")
    line, _, fields = head.partition("\n")
    assert line == f"{method} {path} HTTP/1.1"
    for name, value in Parser().parsestr(fields).items():
        same = name == "webhook-signature" or is_like(value, headers[name.lower()], numbers=True)
        assert same, f"{name}: {headers[name.lower()]}"
    assert len(headers["webhook-signature"]) == len(Parser().parsestr(fields)["webhook-signature"])
    check_same(json.loads(shown), json.loads(body))


def replayed(reader: Reader, block: Block) -> None:
    receiver: Outsider = reader.seen["receiver"]
    wait_until(lambda: "delivered" in reader.ask("GET", "/webhooks/deliveries").text)
    run(r"job.completed", r"\b204\b")(reader, block)
    wait_until(lambda: len(receiver.came) == 2)
    first, second = (headers["webhook-id"] for _, _, headers, _ in receiver.came)
    assert first == second


def same_secret_twice(reader: Reader, block: Block) -> None:
    run()(reader, block)
    answered, printed = reader.said.out.replace("}", "}\n").split()
    assert json.loads(answered)["secret"] == printed


RECEIVER = is_run_by("tests/webhooks/test_samples.py", "there it is called with good signatures and bad ones")
CALLBACKS = [
    Step('"callbackUrl"', called_back),
    Step("POST /done", request_as_shown),
    Step("signing-secret", same_secret_twice),
    Step("from flask", RECEIVER),
    Step("createHmac", RECEIVER),
    Step("webhooks replay", replayed),
]

PAGES = {
    "docs/how-to/built-in-kinds.md": BUILT_IN_KINDS,
    "docs/how-to/callbacks.md": CALLBACKS,
    "docs/how-to/control-queues.md": CONTROL_QUEUES,
    "docs/how-to/files.md": FILES,
    "docs/how-to/follow-logs.md": FOLLOW_LOGS,
    "docs/how-to/schedules.md": SCHEDULES,
    "docs/how-to/stream-submits.md": STREAM_SUBMITS,
    "docs/how-to/submit-jobs.md": SUBMIT_JOBS,
    "docs/how-to/sync.md": SYNC,
}
