"""What is done with the blocks of the pages about running TaskFlow: on one machine, on several, and by night."""

import re
from importlib.metadata import requires

import httpx
from tests.handlers.test_mail import Mailbox
from tests.handlers.test_mail import serve as serve_mail
from tests.support.otlp import Kept, collecting
from tests.support.pages import Block, lines_missing
from tests.support.reader import (
    Reader,
    Step,
    asks_database,
    parses,
    results,
    run,
    sent_to,
    serve,
)
from tests.support.up import free_port, wait_until
from tests.system.test_traces import CALLER, TRACE, receiving

READY = "Ctrl-C drains"
MAIL = {"taskType": "send_email", "payload": {"to": "ada@example.com", "subject": "Hi", "body": "Hello."}}
KIND = "taskflow.job.kind"
FOREIGN_LIBRARY = "it needs a package of Node.js"

# The app around the sample: what the page says of attempts needs a first one that fails.
BEFORE_SAMPLE = """
from taskflow import JobContext, TaskFlow

app = TaskFlow()


@app.before_attempt
async def fail_once(ctx: JobContext) -> None:
    if ctx.kind == "order" and ctx.attempt == 1:
        raise RuntimeError("not yet")


@app.job("pack", queue="orders")
async def pack(number: int) -> None: ...


"""


def on_free_port(line: str) -> dict[str, str]:
    """Let `up` of this page's own deployment listen where nobody else does."""
    return {line: "taskflow up --port 0"}


def settles(reader: Reader) -> None:
    reader.settle()


# Workers and mail ------------------------------------------------------------------------------------------------


def metrics_of_three(reader: Reader, block: Block) -> None:
    port = free_port()
    parts: list[str] = []

    def look(_reader: Reader) -> None:
        parts.extend(httpx.get(f"http://127.0.0.1:{port + number}/metrics").text for number in range(3))

    serve(READY, instead={"9101": str(port)}, check=look)(reader, block)
    assert all("taskflow_" in part for part in parts)


RUN_WORKERS = [
    Step(
        "taskflow up --workers 4",
        serve(
            rf"2 worker processes[\s\S]*{READY}",
            instead={"--workers 4": "--workers 2 --port 0"},
            stays=True,
            check=settles,
        ),
    ),
    Step(
        "--concurrency 20",
        serve("ready: working on queues builtin, webhooks: 1 process, 20 jobs each", instead={"--processes 2 ": ""}),
    ),
    Step("--queues builtin", serve("ready: working on queues builtin: 1 process, 5 jobs each")),
    Step("--metrics-port 9101", metrics_of_three),
]


def with_mail_server(reader: Reader, block: Block) -> None:
    """Its server asks for no password, which would need a certificate that the reader trusts."""
    mailbox = reader.seen["mailbox"] = Mailbox()
    reader.exits.callback(serve_mail(mailbox).stop)
    instead = {"user:password@mail.example.org:587": f"127.0.0.1:{mailbox.port}", **on_free_port("make up")}
    serve(READY, instead=instead, stays=True, check=settles)(reader, block)


def mail_arrived(reader: Reader, block: Block) -> None:
    results()(reader, block)
    [envelope] = reader.seen["mailbox"].mails
    assert (envelope.mail_from, envelope.rcpt_tos) == ("robot@example.org", ["ada@example.com", "bob@example.com"])
    assert b"<p>The same as HTML, if you like.</p>" in envelope.original_content


SEND_MAIL = [
    Step("TASKFLOW_SMTP_URL", with_mail_server),
    Step('"html"', sent_to("/jobs")),
    Step('"messageId"', mail_arrived),
]


# A database of one's own -----------------------------------------------------------------------------------------


def made_by_role(reader: Reader, block: Block) -> None:
    """The embedded server has a role and a database of the page's name already."""
    asks_database(instead={"taskflow": "tf_production", "'…'": "'password'"})(reader, block)


def its_url(reader: Reader) -> dict[str, str]:
    host = reader.database_url.partition("@")[2].partition("/")[0]
    return {"taskflow:password@db.example.org/taskflow": f"tf_production:password@{host}/tf_production"}


def key_shown(reader: Reader, block: Block) -> None:
    run(r"^tf_[0-9A-Za-z]+$", r"shown this once")(reader, block)
    reader.seen["key"] = reader.said.id


def both_run(reader: Reader, block: Block) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def submits(reader: Reader) -> None:
        wait_until(lambda: httpx.get(f"{url}/ready").status_code == httpx.codes.OK)
        assert httpx.get(f"{url}/live").status_code == httpx.codes.OK
        headers = {"Authorization": f"Bearer {reader.seen['key']}"}
        with httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=30) as client:
            job = client.post("/jobs", json=MAIL).raise_for_status().json()
            wait_until(lambda: client.get(f"/jobs/{job['jobId']}").json()["status"] == "completed")

    serve(
        "taskflow.api.start",
        "ready: working on queues builtin, webhooks: 1 process, 20 jobs each",
        instead={"--port 3000": f"--port {port}", "--processes 4 ": ""},
        check=submits,
    )(reader, block)


PRODUCTION = [
    Step("CREATE ROLE taskflow", made_by_role),
    Step("TASKFLOW_SECRET_KEY", run(instead=its_url)),
    Step("taskflow migrate", run()),
    Step("taskflow keys create", key_shown),
    Step("taskflow api", both_run),
]


# Traces ----------------------------------------------------------------------------------------------------------


def with_collector(reader: Reader, block: Block) -> None:
    """The package is there with its extra; it is not installed again."""
    install = "pip install 'taskflow-server[otel]'\n"
    assert any("extra == 'otel'" in one.replace('"', "'") for one in requires("taskflow-server") or ())
    collector = reader.seen["collector"] = reader.exits.enter_context(collecting())
    instead = {install: "", "http://localhost:4318": collector.url, **on_free_port("taskflow up")}
    serve(READY, instead=instead, stays=True, check=settles)(reader, block)


def keeps_tree(reader: Reader, block: Block) -> None:
    reader.seen["tree"] = [part_of_tree(line) for line in block.text.splitlines()[1:]]


def part_of_tree(line: str) -> tuple[int, str, str]:
    """Return depth, name and kind of a span as the page draws it; what a handler does is `…` and has no kind."""
    indent = len(line) - len(line.lstrip(" │├└─"))
    name, said, *_ = re.split(r" {2,}", line[indent:])
    return indent // 3, name, said if said.isupper() else ""


def tree_of(spans: list[Kept], parent_id: str, depth: int = 1) -> list[tuple[int, str, str]]:
    """Return the spans below *parent_id* in the order in which they began; those inside of an attempt are one `…`."""
    found = []
    for span in sorted(spans, key=lambda span: span.began_ns):
        if span.parent_id == parent_id:
            found.append((depth, span.name, span.kind))
            below = tree_of(spans, span.span_id, depth + 1)
            found += [(depth + 1, "…", "")] if below and span.name == "process orders" else below
    return found


def named(spans: list[Kept], name: str) -> list[Kept]:
    """Return the spans of that name, or of jobs of that kind, in the caller's trace."""
    return [span for span in spans if span.trace_id == TRACE and name in {span.name, span.attributes.get(KIND)}]


def traced_as_shown(reader: Reader, block: Block) -> None:
    """Run the sample as a worker's app, submit an order in a trace of the caller's, and look at the collector."""
    (reader.shell.folder / "jobs.py").write_text(BEFORE_SAMPLE + block.text)
    hook, _ = reader.exits.enter_context(receiving())
    reader.exits.enter_context(reader.terminal("taskflow worker --app jobs:app", READY))
    order = {"taskType": "order", "payload": {"number": 7}, "callbackUrl": hook}
    job = reader.ask("POST", "/jobs", json=order, traceparent=f"00-{TRACE}-{CALLER}-01").json()
    wait_until(lambda: reader.ask("GET", f"/jobs/{job['jobId']}").json()["status"] == "retrying")
    assert reader.ask("POST", f"/jobs/{job['jobId']}/run-now").is_success
    spans = reader.seen["collector"].wait_for(
        lambda spans: (
            bool(named(spans, "POST"))
            and len(named(spans, "process orders")) == 3  # the last is of `pack`
            and tree_of(spans, CALLER) == reader.seen["tree"]  # several processes send, each when it comes to it
        )
    )
    assert tree_of(spans, CALLER) == reader.seen["tree"]
    assert sorted(span.failed for span in named(spans, "order") if span.kind == "CONSUMER") == [False, True]
    assert len(named(spans, "book")) == 1
    assert {span.kind for span in named(spans, "pack")} == {"PRODUCER", "CONSUMER"}


TRACES = [
    Step("taskflow-server[otel]", with_collector),
    Step("the caller's span", keeps_tree),
    Step('get_tracer("shop")', traced_as_shown),
    Step("propagation.extract", parses(FOREIGN_LIBRARY)),
]


# By night --------------------------------------------------------------------------------------------------------


def well_and_ill(reader: Reader, block: Block) -> None:
    """A deployment that runs passes; of one whose workers are gone, the output is what the page goes on with."""
    run(r"^ok +workers", r"^ok +leader")(reader, block)
    script = f"TASKFLOW_DATABASE_URL={reader.lend_database()}\nexport TASKFLOW_DATABASE_URL\n{block.text}"
    reader.said = reader.shell.run(f"({script})", code=1)


def lines_as_shown(reader: Reader, block: Block) -> None:
    assert lines_missing(block.text, reader.said.out) == [], reader.said.out


DOCTOR = [
    Step("taskflow doctor", well_and_ill),
    Step("none is alive", lines_as_shown),
    Step("taskflow top --once", serve("QUEUE", "QUEUE", '"rates"', instead={"--interval 10": "--interval 1"})),
    Step("--install-completion", run("completion installed")),
]


def last_day(reader: Reader) -> dict[str, str]:
    """Return a day that is there; the last one, which nothing has been written to."""
    parts = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'taskflow.job_log'::regclass ORDER BY 1"
    return {"20261123": str(reader.query(parts)[-1][0]).rpartition("_")[2]}


def key_replaced(reader: Reader, block: Block) -> None:
    """The lost key is refused within two seconds; the new one is not."""
    lost = reader.shell.run("taskflow keys create lost --scope owner")
    [key_id] = re.findall(r"^key (\S+),", lost.err)
    reader.shell.set(id=key_id)
    run(rf"^{key_id} +lost +owner +…{lost.id[-4:]}")(reader, block)
    new = reader.said.out.splitlines()[0]

    def status(key: str) -> int:
        url = f"{reader.credentials['url']}/api/v1/jobs"
        return httpx.get(url, headers={"Authorization": f"Bearer {key}"}).status_code

    wait_until(lambda: status(lost.id) == httpx.codes.UNAUTHORIZED)
    assert status(new) == httpx.codes.OK


RUNBOOK = [
    Step("FROM taskflow.leader", asks_database(rows=1)),
    Step("backend_xmin", asks_database(rows=1)),
    Step("pg_inherits", asks_database(rows=28)),
    Step("DETACH PARTITION", asks_database(instead=last_day)),
    Step("taskflow keys create", key_replaced),
    Step("PGPASSWORD", run(r"^ +1$", instead={"-U taskflow taskflow": "-U taskflow taskflow -c 'SELECT 1 AS one'"})),
]

PAGES = {
    "docs/how-to/production-postgresql.md": PRODUCTION,
    "docs/how-to/run-workers.md": RUN_WORKERS,
    "docs/how-to/send-mail.md": SEND_MAIL,
    "docs/how-to/trace.md": TRACES,
    "docs/operations/doctor.md": DOCTOR,
    "docs/operations/runbook.md": RUNBOOK,
}
"""Pages whose own blocks start the deployment that they are about."""
STARTING = {"docs/how-to/run-workers.md", "docs/how-to/send-mail.md", "docs/how-to/trace.md"}
