"""What is done with the blocks of the README and of how-to pages about jobs of one's own."""

import re
import sys
import textwrap

import psycopg
import pytest
from tests.support.pages import Block, lines_missing
from tests.support.reader import (
    Do,
    Reader,
    Step,
    answers,
    asks_database,
    parses,
    run,
    saved_as,
    serve,
    then,
)
from tests.support.reference import ROOT, SOURCE

import taskflow

FOREIGN_LIBRARY = "it needs a package of Node.js"
OWN_TABLES = "it is a part of an application, which has tables and packages of its own"

# The application that the samples about transactions are a part of.
AROUND_SAMPLE = """
import asyncio
import sys

import asyncpg
from taskflow import TaskFlow

app = TaskFlow()


@app.job("confirm_order", queue="orders")
async def confirm(order_id: int) -> None: ...


async def main() -> None:
    own = connection = await asyncpg.connect(sys.argv[1])
    async with own.transaction():
{sample}
    await own.close()


asyncio.run(main())
"""
SUBMITTED = "SELECT count(*) FROM taskflow.job WHERE kind = 'confirm_order'"


def has_python(reader: Reader) -> None:
    reader.shell.add_program("python", f'PYTHONPATH="{SOURCE.parent}" exec "{sys.executable}" "$@"')


# README ----------------------------------------------------------------------------------------------------------


def only_told(*shows: str) -> Do:
    """Have `make` say what it would do: it makes a `.venv`, or takes minutes."""
    return run(*shows, instead={"make ": f"make -n -C {ROOT} "})


def greeted_as_shown(reader: Reader, block: Block) -> None:
    """The key is not shown outside of a terminal; the command that stands there instead is pasted."""
    banner = reader.seen["banner"]
    lines = block.text.splitlines()
    of_up = [line for line in lines if not re.match("Making|Installing|  API key|  curl", line)]
    assert len(of_up) == len(lines) - 4
    told = "\n".join(of_up).replace("/var/lib/taskflow", str(reader.data)).replace("0.1.0", taskflow.__version__)
    assert lines_missing(told, banner) == [], banner
    [curl] = re.findall(r"^  curl -s .*\n.*", banner, re.MULTILINE)
    reader.said = reader.shell.run(curl)


def jobs_run(reader: Reader, block: Block) -> None:
    has_python(reader)
    programs = {".venv/bin/": f"{reader.shell.programs}/"}
    serve("ready: working on queues images: 1 process", "^a.png@640$", instead=programs)(reader, block)


README = [
    Step("\nmake up", only_told("taskflow up")),
    Step("  API key  tf_…", greeted_as_shown),
    Step('"status": "pending"', answers()),
    Step('@app.job("thumbnail"', saved_as("jobs.py")),
    Step("--reload", jobs_run),
    Step("\nTASKFLOW_DATABASE_URL", only_told("taskflow up")),
    Step("\nmake test", only_told("pytest -n 2", "ruff check", "tests.faults")),
]


# Jobs of one's own -----------------------------------------------------------------------------------------------


def awaited(reader: Reader, block: Block) -> None:
    """Run it as the body of a coroutine, beside the app of the page's first sample."""
    has_python(reader)
    body = textwrap.indent(block.text, "    ")
    script = f"import asyncio\n\nfrom jobs import thumbnail\n\n\nasync def main():\n{body}\n\nasyncio.run(main())\n"
    (reader.shell.folder / "submit.py").write_text(script)
    assert reader.shell.run("python submit.py").out == "a.png@640\n"


WRITE_A_JOB = [
    Step('@app.job("thumbnail"', saved_as("jobs.py")),
    Step("--app jobs:app", serve("ready: working on queues images: 1 process", stays=True)),
    Step("await thumbnail.enqueue", awaited),
    Step("UPDATE shop_order", parses(OWN_TABLES)),
    Step("@app.lifespan", parses(OWN_TABLES)),
]


def has_orders(reader: Reader, _block: Block) -> None:
    reader.query("CREATE TABLE shop_order (id int, item text);\nCREATE ROLE shop LOGIN PASSWORD 'password'")


def submits(count: int) -> Do:
    """Run it inside of an application's coroutine: the row and *count* jobs are there afterwards."""

    def do(reader: Reader, block: Block) -> None:
        has_python(reader)
        [(before,)] = reader.query(SUBMITTED)
        text = block.text.replace("shop_order …", "shop_order VALUES (6, 'table')")
        sample = textwrap.indent(text, "        ")
        (reader.shell.folder / "shop.py").write_text(AROUND_SAMPLE.replace("{sample}", sample))
        reader.shell.run(f"python shop.py {reader.database_url}")
        assert reader.query(SUBMITTED) == [(before + count,)]

    return do


def row_and_job(reader: Reader, block: Block) -> None:
    asks_database()(reader, block)
    assert reader.query("SELECT id, item FROM shop_order ORDER BY id") == [(6, "table"), (7, "lamp")]
    [job] = reader.ask("GET", "/jobs?taskType=confirm_order&status=scheduled").json()["items"]
    assert job["priority"] == 8


def granted(reader: Reader, block: Block) -> None:
    run()(reader, block)
    url = re.sub("//.*@", "//shop:password@", reader.database_url)
    reader.query("SELECT taskflow.enqueue('confirm_order', '{\"order_id\": 9}')", url)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.query(SUBMITTED, url)


IN_YOUR_TRANSACTION = [
    Step("await confirm.enqueue_many", then(has_orders, submits(3))),
    Step("transaction.atomic", parses("tests/sdk/test_django.py runs it in a Django of its own")),
    Step("async with app.transaction", submits(1)),
    Step("\nBEGIN", row_and_job),
    Step("'resize', { width: 640 }", parses(FOREIGN_LIBRARY)),
    Step("--grant-enqueue", granted),
]

PAGES = {
    "README.md": README,
    "docs/how-to/submit-in-your-transaction.md": IN_YOUR_TRANSACTION,
    "docs/how-to/write-a-job.md": WRITE_A_JOB,
}
