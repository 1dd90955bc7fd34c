"""`taskflow schedules` and `taskflow stats` on a real database, their output going into pipes."""

import json
import re
from uuid import UUID

import psycopg
import pytest
from tests.support.operator import MAIL, Operator

from taskflow.apps.cli.numbers import BAR_CELLS, bar

MORNING = ("schedules", "create", "morning mail", "send_email", json.dumps(MAIL), "--cron", "30 7 * * MON-FRI")


@pytest.fixture
def operator(database_url: str) -> Operator:
    operator = Operator(database_url)
    operator.publish()
    return operator


def test_a_schedule_is_made_shown_changed_and_deleted(operator: Operator) -> None:
    options = ("--timezone", "Europe/Berlin", "--priority", "high", "--retries", "7", "--tag", "mail", "--tag", "b")
    said = operator.taskflow(*MORNING, *options, "--catchup", "all", "--overlap", "allow")
    assert (said.code, said.err) == (0, "")
    assert UUID(said.id).version == 7
    for which in (said.id, "morning mail"):
        shown = operator.taskflow("schedules", "show", which, "--json").json
        told = {"priority": 8, "retries": 7, "tags": ["mail", "b"], "catchup": "all", "overlap": "allow"}
        assert {name: shown[name] for name in told} == told
        assert len(shown["upcoming"]) == 5
    operator.taskflow("schedules", "update", "morning mail", "--every-ms", "60000", "--retries", "kind")
    shown = operator.taskflow("schedules", "show", said.id, "--json").json
    assert (shown["cron"], shown["every"], shown["retries"], shown["priority"]) == (None, 60000, None, 8)
    changed = operator.taskflow("schedules", "update", "morning mail", "--every", "1d3h46m40s")
    assert "every 1d3h46m40s" in changed.out
    shown = operator.taskflow("schedules", "show", said.id, "--json").json
    assert shown["every"] == 100_000_000
    gone = operator.taskflow("schedules", "delete", "morning mail")
    assert (gone.code, gone.out) == (0, f"{said.id}  deleted\n")
    missing = operator.taskflow("schedules", "show", "morning mail")
    assert (missing.code, missing.err) == (1, "taskflow: there is no schedule 'morning mail'\n")


def test_callback_expiry_and_key_are_given_shown_and_taken_away(operator: Operator) -> None:
    window = ("--unique-key", "k", "--unique-scope", "window", "--unique-window-ms", "60000")
    made = operator.taskflow(*MORNING, "--callback-url", "http://127.0.0.1:9/", "--ttl-ms", "90000", *window, "--json")
    said = {"callbackUrl": "http://127.0.0.1:9/", "ttl": 90_000, "uniqueKey": "k", "uniqueWindow": 60_000}
    assert {name: made.json[name] for name in said} == said
    shown = operator.taskflow("schedules", "show", "morning mail").out
    assert ("90000 ms after the submit" in shown, "for 60000 ms" in shown) == (True, True)
    first = operator.taskflow("schedules", "run-now", "morning mail")
    again = operator.taskflow("schedules", "run-now", "morning mail")
    assert (again.id, again.code) == (first.id, 0)
    assert again.err == "nothing was submitted: this job holds the unique key\n"
    taken = ("--callback-url", "none", "--ttl-ms", "none", "--unique-key", "none", "--json")
    changed = operator.taskflow("schedules", "update", "morning mail", *taken).json
    assert {changed[name] for name in said} == {None}


def test_a_list_has_a_row_for_each_and_says_what_is_paused(operator: Operator) -> None:
    assert operator.taskflow("schedules", "list").err == "no schedules\n"
    operator.taskflow(*MORNING)
    operator.taskflow("schedules", "create", "beat", "order", '{"number": 1}', "--every-ms", "90000", "--paused")
    header, *rows = operator.taskflow("schedules", "list").out.splitlines()
    assert header.split() == ["NAME", "WHEN", "ZONE", "TYPE", "NEXT", "LAST", "OUTCOME", "ID"]
    assert rows[0].split()[:6] == ["beat", "every", "1m30s", "-", "order", "paused"]
    assert rows[1].startswith("morning mail  30 7 * * MON-FRI  UTC   send_email  20")
    listed = operator.taskflow("schedules", "list", "--json").json["items"]
    assert [item["name"] for item in listed] == ["beat", "morning mail"]


def test_pause_resume_and_run_now_say_what_came_of_it(operator: Operator) -> None:
    schedule_id = operator.taskflow(*MORNING).id
    assert operator.taskflow("schedules", "pause", "morning mail").out == f"{schedule_id}  paused\n"
    job_id = operator.taskflow("schedules", "run-now", "morning mail").id
    assert operator.taskflow("jobs", "show", job_id, "--json").json["payload"] == MAIL
    assert operator.taskflow("schedules", "resume", "morning mail").out.startswith(f"{schedule_id}  next 20")
    shown = operator.taskflow("schedules", "show", "morning mail").out
    assert "latest times" in shown
    assert shown.splitlines()[-1].split()[1:] == ["fired", job_id, "by", "hand"]


def test_all_times_of_a_schedule_are_shown_by_the_clock_of_its_zone(operator: Operator) -> None:
    operator.taskflow(*MORNING, "--timezone", "Asia/Kolkata")
    operator.taskflow("schedules", "run-now", "morning mail")
    with psycopg.connect(operator.url, autocommit=True) as connection:
        connection.execute("UPDATE taskflow.schedule_tick SET missed_until = now(), outcome = 'missed'")
    shown = operator.taskflow("schedules", "show", "morning mail").out
    times = re.findall(r"\d{4}-\d\d-\d\dT\S+?(?=,?\s|$)", shown)
    assert len(times) == 8, shown
    assert [time for time in times if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+05:30", time)] == []


def test_a_preview_shows_five_times_as_the_zone_has_them(operator: Operator) -> None:
    said = operator.taskflow("schedules", "preview", "--cron", "0 12 * * *", "--timezone", "Asia/Kolkata")
    assert said.code == 0
    assert [line[10:] for line in said.out.splitlines()] == ["T12:00:00+05:30"] * 5
    assert len(operator.taskflow("schedules", "preview", "--every-ms", "1000", "--json").json["items"]) == 5


def test_what_is_wrong_is_one_line_with_the_options_names_and_nothing_is_stored(operator: Operator) -> None:
    wrong = operator.taskflow(
        *MORNING[:4], '{"to": "ada@example.com"}', "--cron", "61 * * * *", "--every-ms", "5", "--priority", "77"
    )
    assert (wrong.code, wrong.out) == (2, "")
    assert "--every-ms: must be from 1000 to 31622400000 ms" in wrong.err
    assert "--priority: must be high, normal, low" in wrong.err
    assert "--cron: the minute cannot be '61'" in wrong.err
    for words, line in (
        ((*MORNING[:-1], "61 * * * *"), "--cron: the minute cannot be '61': it takes 0 to 59;"),
        (MORNING[:-2], "--cron: a schedule has cron or every; give one of them"),
        ((*MORNING[:-2], "--every", "90"), "--every: must be a time such as 90s, 15m or 1d12h, got '90'"),
        ((*MORNING[:-2], "--every", "5ms"), "--every: must be from 1000 to 31622400000 ms"),
        ((*MORNING[:-2], "--every", "5s", "--every-ms", "5000"), "--every-ms: give --every alone"),
        ((*MORNING, "--every-ms", "1000"), "--cron: give cron or every, not both"),
        ((*MORNING, "--timezone", "Mars"), "--timezone: is not an IANA time zone such as Europe/Berlin or UTC"),
        ((*MORNING[:4], "{}", *MORNING[5:]), "/payload/to: is required"),
        ((*MORNING, "--catchup", "some"), "--catchup: must be one of latest, all, none"),
        (("schedules", "preview"), "--cron: a schedule has cron or every; give one of them"),
        (("schedules", "update", "x"), "name something that is to be different; --help lists what there is"),
    ):
        said = operator.taskflow(*words)
        assert (said.code, said.out) == (2, ""), words
        assert said.err.startswith("taskflow: "), words
        assert line in said.err, words
        assert said.err.count("\n") == 1, words
    assert operator.taskflow("schedules", "list", "--json").json["items"] == []
    operator.taskflow(*MORNING)
    twice = operator.taskflow(*MORNING)
    assert (twice.code, "there is a schedule named 'morning mail' already" in twice.err) == (1, True)


@pytest.mark.covers("S2-11")
def test_stats_show_states_queues_and_a_bar_for_each_day(operator: Operator) -> None:
    for _ in range(4):
        operator.enqueue()
    for claim in operator.claim(3):
        operator.complete(claim, None)
    operator.failed_job()
    said = operator.taskflow("stats")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    ends = lines.index("ends of jobs in the window")
    assert lines[ends + 1].split() == ["STATUS", "ENDS"]
    assert [line.split() for line in lines[ends + 2 : ends + 5]] == [
        ["completed", "3"],
        ["failed", "1"],
        ["cancelled", "0"],
    ]
    now = lines.index("jobs now")
    assert [line.split() for line in lines[now + 1 : now + 3]] == [["STATUS", "JOBS"], ["pending", "1"]]
    assert any(line.startswith("success  75.0 %") for line in lines)
    assert lines[-1].split()[1:] == ["3", "1", "█" * BAR_CELLS]
    numbers = operator.taskflow("stats", "--days", "1", "--json").json
    assert (numbers["states"]["completed"], numbers["uptime"]["api"], numbers["period"]) == (3, None, "hour")


def test_stats_of_an_impossible_window_are_refused(operator: Operator) -> None:
    said = operator.taskflow("stats", "--days", "1000")
    assert (said.code, said.err) == (2, "taskflow: --days: must be a whole number from 1 to 92\n")


def test_a_bar_is_as_long_as_its_share_and_something_is_never_nothing() -> None:
    assert bar(0, 10) == ""
    assert bar(10, 10, cells=4) == "████"
    assert bar(5, 10, cells=4) == "██"
    assert bar(1, 1000, cells=4) == "▏"
    assert bar(0, 0) == ""
