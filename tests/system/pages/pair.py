"""
What is done with the blocks of the page about high availability: two real servers on loopback are made a pair, fail
over, and are made a pair again, each step by the page's own words.

`tests/ha` does the same to a deployment under load, and takes minutes.
"""

import shutil
import tempfile
from pathlib import Path

from tests.support.cluster import Node
from tests.support.pages import Block
from tests.support.reader import Reader, Step, check_shown, replaced
from tests.support.up import wait_until

from taskflow.db.server_program import find_program

PASSWORD = "password"
STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name = '{}'"
LONG = "-without-socket" * 6  # pg_rewind reads every file of its source and stumbles over a socket


class Pair:
    """The machines `a` and `b` of the page, and what its reader has on them."""

    def __init__(self, reader: Reader) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="tf-", dir="/tmp"))
        reader.exits.callback(shutil.rmtree, self.base)
        self.base.chmod(0o755)
        self.a, self.b = (Node(self.base / f"{name}{LONG}", name) for name in "ab")
        for node in (self.a, self.b):
            reader.exits.callback(node.stop)
        for name in ("pg_basebackup", "pg_rewind"):
            program = find_program(self.a.directory)
            words = [*program.account.prefix, program.bindir / name]
            if program.account.is_another_user:
                words = ["setpriv", f"--reuid={program.account.uid}", "--clear-groups", program.bindir / name]
            command = " ".join(map(str, words))
            reader.shell.add_program(name, f'cd / && exec {command} "$@"')


def pair_of(reader: Reader) -> Pair:
    pair: Pair = reader.seen["pair"]
    return pair


def configured(reader: Reader, block: Block) -> None:
    """The settings count from the start on that comes after."""
    pair = reader.seen["pair"] = Pair(reader)
    pair.a.server.initialise()
    with (pair.a.directory / "postgresql.conf").open("a") as file:
        file.write(block.text)
    pair.a.start()
    for line in block.text.splitlines():
        name, _, value = line.partition("#")[0].partition("=")
        assert pair.a.ask(f"SHOW {name}") == value.strip(" '"), line


def allowed(reader: Reader, block: Block) -> None:
    a = pair_of(reader).a
    reader.query(block.text.replace("'…'", f"'{PASSWORD}'"), a.url)
    with (a.directory / "pg_hba.conf").open("a") as file:
        file.write("host replication replicator 127.0.0.1/32 scram-sha-256\n")
    a.ask("SELECT pg_reload_conf()")


def copied(reader: Reader, block: Block) -> None:
    pair = pair_of(reader)
    find_program(pair.b.directory).account.own(pair.base)
    instead = {"host=a ": f"host=127.0.0.1 port={pair.a.port} ", "password=…": f"password={PASSWORD}"}
    reader.shell.set(PGDATA=str(pair.b.directory))
    reader.said = reader.shell.run(replaced(reader, block.text, instead))
    pair.b.server = pair.b._make(pair.a.password)
    pair.b.start()
    wait_until(lambda: pair.a.ask(STREAMING.format("b")) == 1)


def synchronous(reader: Reader, block: Block) -> None:
    pair = pair_of(reader)
    reader.query(block.text, pair.a.url)
    wait_until(lambda: pair.a.is_synchronous(pair.b))


def given_both_hosts(reader: Reader, block: Block) -> None:
    """A schema is there then, and the doctor says that the standby is synchronous."""
    pair = pair_of(reader)
    hosts = f"127.0.0.1:{pair.a.port},127.0.0.1:{pair.b.port}"
    reader.shell.run(replaced(reader, block.text, {"…@a:5432,b:5432": f"{pair.a.password}@{hosts}"}))
    check_shown(reader.shell.run("taskflow migrate; taskflow doctor", code=1), "1 synchronous")


def promoted(reader: Reader, block: Block) -> None:
    pair = pair_of(reader)
    pair.a.kill()
    assert reader.query(block.text, pair.b.url) == [(True,)]
    said = reader.shell.run("taskflow doctor", code=1)
    check_shown(said, "there is none, so there is no failover that could lose commits")


def rewound(reader: Reader, block: Block) -> None:
    pair = pair_of(reader)
    access = {"user=… password=…": f"user=taskflow password={pair.b.password}"}
    reader.shell.set(PGDATA=str(pair.a.directory))
    reader.shell.run(replaced(reader, block.text, {"host=b ": f"host=127.0.0.1 port={pair.b.port} ", **access}))
    pair.a.start()
    wait_until(lambda: pair.b.ask(STREAMING.format("a")) == 1)


def synchronous_again(reader: Reader, block: Block) -> None:
    pair = pair_of(reader)
    reader.query(block.text, pair.b.url)
    wait_until(lambda: pair.b.is_synchronous(pair.a))
    check_shown(reader.shell.run("taskflow doctor", code=1), "1 synchronous")


def alone(reader: Reader, block: Block) -> None:
    """The standby dies, and what the page says lets commits end again."""
    pair = pair_of(reader)
    pair.a.kill()
    reader.query(block.text, pair.b.url)
    wait_until(lambda: pair.b.ask("SHOW synchronous_standby_names") == "")
    pair.b.ask("CREATE TABLE public.after_it (id int)")


HIGH_AVAILABILITY = [
    Step("wal_log_hints", configured),
    Step("CREATE ROLE replicator", allowed),
    Step("pg_basebackup", copied),
    Step("synchronous_standby_names = 'b'", synchronous),
    Step("target_session_attrs", given_both_hosts),
    Step("pg_promote", promoted),
    Step("\npg_rewind", rewound),
    Step("synchronous_standby_names = 'a'", synchronous_again),
    Step("synchronous_standby_names = ''", alone),
]

PAGES = {"docs/operations/high-availability.md": HIGH_AVAILABILITY}
