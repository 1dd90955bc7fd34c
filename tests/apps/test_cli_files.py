"""`taskflow files` on a real database: what scripts rely on."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.api import SECRET, Api, api, client
from tests.support.operator import Operator

__all__ = ["api", "client"]

MISSING = "019ab0f2-6b3e-7c41-9d5a-3f6f0c9d2e11"


@pytest.fixture
def operator(database_url: str) -> Operator:
    operator = Operator(database_url)
    operator.publish()
    return operator


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_bytes(b"one\ntwo\n" * 100_000)
    return path


def test_a_file_goes_up_and_comes_down_the_same(operator: Operator, source: Path, tmp_path: Path) -> None:
    file_id = operator.taskflow("files", "upload", str(source)).id
    shown = operator.taskflow("files", "show", file_id, "--json").json
    assert (shown["name"], shown["size"], shown["type"]) == ("notes.txt", 800_000, "text/plain")
    assert operator.taskflow("files", "list", "--json").json == {"items": [shown], "nextCursor": None}
    assert file_id in operator.taskflow("files", "list").out
    assert "781.2 KiB (800000 bytes)" in operator.taskflow("files", "show", file_id).out
    folder = tmp_path / "down"
    folder.mkdir()
    said = operator.taskflow("files", "download", file_id, "-o", str(folder))
    assert (said.code, said.out) == (0, f"{folder / 'notes.txt'}\n")
    assert (folder / "notes.txt").read_bytes() == source.read_bytes()
    assert operator.taskflow("files", "download", file_id, "-o", "-").out.encode() == source.read_bytes()
    refused = operator.taskflow("files", "download", file_id, "-o", str(folder))
    assert (refused.code, "--force replaces it" in refused.err) == (1, True)
    assert operator.taskflow("files", "download", file_id, "-o", str(folder), "--force").code == 0
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert operator.taskflow("files", "delete", file_id).out == f"{file_id}  deleted\n"
    gone = operator.taskflow("files", "delete", file_id, "nothing")
    assert (gone.code, gone.err.count("there is no file")) == (1, 2)


def test_an_upload_takes_a_name_a_pipe_and_how_long_to_keep_it(operator: Operator) -> None:
    said = operator.taskflow("files", "upload", "-", "--name", "a.md", "--retention-days", "2", "--json", stdin="# Hi")
    [file] = said.json["items"]
    left = datetime.fromisoformat(file["expiresAt"]) - datetime.now(UTC)
    assert (file["name"], timedelta(days=1, hours=23) < left <= timedelta(days=2)) == ("a.md", True)


def test_what_cannot_be_is_one_line(operator: Operator, source: Path, tmp_path: Path) -> None:
    for words, code, line in (
        (("upload", str(tmp_path / "none")), 2, "No such file or directory"),
        (("upload", str(tmp_path)), 2, "Is a directory"),
        (("upload", str(source), str(source), "--name", "x"), 2, "--name: goes with one file"),
        (("upload", str(source), "--retention-days", "0"), 2, "--retention-days"),
        (("upload", str(source), "--expires-at", "2020-01-01T00:00:00Z"), 2, "--expires-at: must be to come"),
        (("list", "--limit", "0"), 2, "--limit"),
        (("list", "--cursor", "x"), 2, "--cursor"),
        (("show", MISSING), 1, "there is no file"),
        (("download", MISSING), 1, "there is no file"),
        (("link", MISSING, "--minutes", "0"), 2, "--minutes: must be above 0"),
    ):
        said = operator.taskflow("files", *words)
        assert (said.code, said.out) == (code, ""), said
        assert line in said.err
        assert said.err.count("\n") == 1
    assert operator.taskflow("files", "list", "--json").json["items"] == []


def test_a_list_goes_on_where_it_ended(operator: Operator, source: Path) -> None:
    made = operator.taskflow("files", "upload", *[str(source)] * 3).out.split()
    said = operator.taskflow("files", "list", "--limit", "2")
    assert f"more: --cursor {made[1]}" in said.err
    rest = operator.taskflow("files", "list", "--cursor", made[1], "--json").json
    assert [file["id"] for file in rest["items"]] == [made[0]]


def test_a_job_is_submitted_together_with_its_file(operator: Operator, source: Path) -> None:
    said = operator.taskflow("jobs", "submit", "order", '{"number": 1}', "--file", f"note={source}")
    payload = operator.taskflow("jobs", "show", said.id, "--json").json["payload"]
    [file] = operator.taskflow("files", "list", "--json").json["items"]
    assert payload == {"number": 1, "note": file["id"]}
    for words, line in (
        (["{}", "--file", "note"], "must be FIELD=PATH"),
        (['{"note": "x"}', "--file", f"note={source}"], "already"),
        (["{}", "--file", "note=/nowhere"], "No such file"),
        (["{}", "--file", f"note={source}"], "/payload/number: is required"),
        (['{"number": 1}', "--priority", "77", "--file", f"note={source}"], "--priority: must be"),
    ):
        refused = operator.taskflow("jobs", "submit", "order", *words)
        assert (refused.code, line in refused.err) == (2, True), refused
    assert len(operator.taskflow("files", "list", "--json").json["items"]) == 1, "nothing was uploaded for those"


def test_a_file_whose_job_is_not_stored_is_deleted_again(operator: Operator, source: Path) -> None:
    submit = ("jobs", "submit", "order", '{"number": 1}', "--file", f"note={source}", "--unique-key", "k")
    first, again = operator.taskflow(*submit), operator.taskflow(*submit)
    assert first.id == again.id
    assert "was uploaded for this job, and has been deleted again" in again.err
    operator.taskflow("queues", "drain", "orders")
    assert operator.taskflow(*submit[:-2]).code == 1
    assert len(operator.taskflow("files", "list", "--json").json["items"]) == 1


async def test_a_link_of_the_command_line_is_good_for_the_api(
    api: Api, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    file = (await client.post("/api/v1/files", files={"file": ("a", b"content")})).json()
    import asyncio

    operator = Operator(api.database.url)
    environ = {"TASKFLOW_SECRET_KEY": SECRET.decode(), "TASKFLOW_DATA_DIR": str(tmp_path)}
    said = await asyncio.to_thread(lambda: operator.taskflow("files", "link", file["id"], "--json", **environ))
    link = json.loads(said.out)["url"]
    assert link.startswith("http://127.0.0.1:3000/api/v1/files/")
    environ["TASKFLOW_PUBLIC_URL"] = "https://tasks.example.org"
    said = await asyncio.to_thread(lambda: operator.taskflow("files", "link", file["id"], "--json", **environ))
    link = json.loads(said.out)["url"]
    assert link.startswith("https://tasks.example.org/api/v1/files/")
    parts = urlsplit(link)
    async with api.client() as anonymous:
        assert (await anonymous.get(f"{parts.path}?{parts.query}")).content == b"content"
