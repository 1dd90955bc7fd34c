"""Ending attempts over HTTP: fenced by the lease, each item by itself, safe to send again."""

from datetime import datetime
from uuid import uuid4

import msgspec
from tests.support.api import SECRET, Api, check_problem, pointers
from tests.support.remote import RemoteTester, reap

from taskflow.engine.job import DEFAULT_NAMESPACE
from taskflow.http.secret import RootSecret
from taskflow.jobs.remote.token import Tokens


async def test_a_completed_job_keeps_its_result(worker: RemoteTester) -> None:
    job_id = await worker.submit()
    job = await worker.claim_one()
    assert await worker.complete(job["token"], result={"bytes": [1, 2]}) == ["completed"]
    shown = await worker.job(job_id)
    assert (shown["status"], shown["result"], shown["attempt"]) == ("completed", {"bytes": [1, 2]}, 1)


async def test_an_end_is_counted_with_how_long_its_job_had_waited(api: Api, worker: RemoteTester) -> None:
    waits = "SELECT state, bucket, taskflow.stat_bucket(60) AS minute FROM taskflow.stat_delta WHERE measure = 'wait'"
    for _ in range(2):
        await worker.submit(retries=0)
    async with api.database.acquire() as connection:
        await connection.execute("UPDATE taskflow.ready SET run_at = run_at - interval '1 minute'")
        one, two = await worker.claim(2)
        assert await worker.complete(one["token"]) == ["completed"]
        assert await worker.fail(two["token"]) == ["failed"]
        rows = await connection.fetch(waits)
    assert sorted(row["state"] for row in rows) == ["completed", "failed"]
    assert all(row["bucket"] in (row["minute"], row["minute"] + 1) for row in rows)


async def test_jobs_are_ended_many_at_once_each_by_itself(api: Api, worker: RemoteTester) -> None:
    """One whose claim was taken back hinders no other."""
    ids = [await worker.submit(width) for width in (1, 2, 3)]
    jobs = [await worker.claim_one() for _ in ids]
    async with api.database.acquire() as connection:
        await connection.execute("DELETE FROM taskflow.lease WHERE job_ids @> ARRAY[$1::uuid]", ids[1])
    answer = await worker.ask("complete", {"items": [{"token": job["token"], "result": None} for job in jobs]})
    assert answer["items"] == [
        {"jobId": ids[0], "attempt": 1, "status": "completed", "error": None},
        {"jobId": ids[1], "attempt": 1, "status": "lease_lost", "error": None},
        {"jobId": ids[2], "attempt": 1, "status": "completed", "error": None},
    ]


async def test_an_end_whose_answer_was_lost_can_be_sent_again(worker: RemoteTester) -> None:
    await worker.submit(1)
    await worker.submit(2)
    one, two = await worker.claim()
    for _ in range(2):
        assert await worker.complete(one["token"], result=1) == ["completed"]
        assert await worker.fail(two["token"]) == ["retrying"]
    assert (await worker.job(two["jobId"]))["failures"] == 1
    assert await worker.fail(one["token"]) == ["lease_lost"]  # it has another end already
    assert (await worker.job(one["jobId"]))["status"] == "completed"


async def test_a_failed_attempt_is_retried_by_the_jobs_own_rules_until_they_are_used_up(
    api: Api, worker: RemoteTester
) -> None:
    job_id = await worker.submit()
    job = await worker.claim_one()
    assert await worker.fail(job["token"]) == ["retrying"]
    shown = await worker.job(job_id)
    assert (shown["status"], shown["failures"]) == ("retrying", 1)
    assert (shown["error"], shown["errorType"]) == ("502 from upstream", "HttpError")
    await _make_due(api)
    assert await worker.fail((await worker.claim_one())["token"]) == ["failed"]
    shown = await worker.job(job_id)
    assert (shown["status"], shown["failureReason"], shown["attempt"]) == ("failed", "exhausted", 2)
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["error", "error"]


async def test_a_worker_may_know_better_when_to_try_again_or_that_it_is_of_no_use(worker: RemoteTester) -> None:
    await worker.submit(1)
    await worker.submit(2)
    one, two = await worker.claim()
    assert await worker.fail(one["token"], retryAfter=3_600_000) == ["retrying"]
    assert await worker.fail(two["token"], permanent=True) == ["failed"]
    waits = await worker.job(one["jobId"])
    assert _hours(waits["attempts"][0]["finishedAt"], waits["nextRetryAt"]) == 1
    assert (await worker.job(two["jobId"]))["failureReason"] == "permanent"


async def test_a_result_that_cannot_be_kept_fails_its_job_and_says_why(worker: RemoteTester) -> None:
    await worker.submit(1)
    await worker.submit(2)
    one, two = await worker.claim()
    items = [{"token": one["token"], "result": "x" * (256 * 1024)}, {"token": two["token"], "result": "a\x00b"}]
    answer = await worker.ask("complete", {"items": items})
    assert [item["status"] for item in answer["items"]] == ["failed", "failed"]
    assert "the limit is 262144" in answer["items"][0]["error"]
    assert "U+0000" in answer["items"][1]["error"]
    assert (await worker.job(one["jobId"]))["failureReason"] == "permanent"


async def test_errors_that_postgresql_could_not_keep_are_made_to_fit(worker: RemoteTester) -> None:
    await worker.submit()
    job = await worker.claim_one()
    error = {"type": "E\x00", "message": "m\x00" + "x" * 5000, "traceback": "t" * 9000}
    await worker.ask("fail", {"items": [{"token": job["token"], "error": error}]})
    shown = await worker.job(job["jobId"])
    assert shown["errorType"] == "E\\u0000"
    assert shown["error"].startswith("m\\u0000x")
    assert len(shown["error"]) == 2000
    assert len(shown["attempts"][0]["traceback"]) == 8000


async def test_a_job_that_is_handed_back_is_somebody_elses_at_no_charge(worker: RemoteTester) -> None:
    job_id = await worker.submit()
    job = await worker.claim_one()
    assert await worker.hand_back(job["token"]) == ["pending"]
    shown = await worker.job(job_id)
    assert (shown["status"], shown["failures"], shown["attempt"]) == ("pending", 0, 1)
    again = await worker.claim_one()
    assert again["attempt"] == 2
    assert await worker.complete(job["token"]) == ["lease_lost"]  # the first attempt is over
    assert await worker.complete(again["token"]) == ["completed"]


async def test_a_cancel_wins_over_every_end_that_would_run_the_job_again(worker: RemoteTester) -> None:
    for width in (1, 2, 3):
        await worker.submit(width)
    one, two, three = await worker.claim()
    for job in (one, two, three):
        await worker.cancel(job["jobId"])
    assert await worker.hand_back(one["token"]) == ["cancelled"]
    assert await worker.fail(two["token"]) == ["cancelled"]
    assert await worker.complete(three["token"]) == ["completed"]  # it was done before it heard of it
    assert (await worker.job(two["jobId"]))["status"] == "cancelled"


async def test_a_worker_that_was_given_up_cannot_end_what_others_have(api: Api, worker: RemoteTester) -> None:
    await worker.submit()
    late = await worker.claim_one()
    await worker.be_silent(16)
    assert await reap(api.database) == 1
    second = RemoteTester(api, worker.client)
    current = await second.claim_one()
    assert (current["jobId"], current["attempt"]) == (late["jobId"], 2)
    assert await worker.complete(late["token"], result="late") == ["lease_lost"]
    assert await worker.fail(late["token"]) == ["lease_lost"]
    assert await worker.hand_back(late["token"]) == ["lease_lost"]
    assert await second.complete(current["token"], result="right") == ["completed"]
    assert (await worker.job(late["jobId"]))["result"] == "right"


async def test_an_end_has_its_consequences_whoever_reports_it(api: Api, worker: RemoteTester) -> None:
    """A job with a callback is followed by a delivery, written with its end."""
    await worker.submit(1, callbackUrl="http://127.0.0.1:9/hook")
    await worker.submit(2, callbackUrl="http://127.0.0.1:9/hook")
    one, two = await worker.claim()
    async with api.database.acquire() as connection:
        count = "SELECT count(*) FROM taskflow.ready WHERE kind = 'deliver_webhook'"
        assert await connection.fetchval(count) == 0
        await worker.complete(one["token"])
        assert await connection.fetchval(count) == 1
        await worker.fail(two["token"], permanent=True)
        assert await connection.fetchval(count) == 2


# Tokens and refusals -------------------------------------------------------------------------------------------------


async def test_a_token_is_good_as_it_was_given_and_in_its_namespace_only(api: Api, worker: RemoteTester) -> None:
    await worker.submit()
    token = (await worker.claim_one())["token"]
    middle = len(token) // 2
    forged = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    bad = [forged, token[:-4], token + "AAAA", "x", "ü", token[:20] + "\n" + token[21:], "A" * 1000]
    items = [{"token": text, "result": None} for text in [token, *bad]]
    problem = check_problem(await worker.post("complete", {"items": items}), 422, "invalid")
    assert pointers(problem) == {f"/items/{index}/token": "bad_token" for index in range(1, len(items))}
    async with api.client(await api.key("worker", namespace=uuid4())) as client:
        response = await RemoteTester(api, client).post("complete", {"items": items[:1]})
        assert pointers(check_problem(response, 422, "invalid")) == {"/items/0/token": "bad_token"}
    assert await worker.complete(token) == ["completed"]  # nothing had been done


async def test_bad_items_are_refused_by_field_and_nothing_is_done(worker: RemoteTester) -> None:
    await worker.submit()
    token = (await worker.claim_one())["token"]
    error = {"type": "E", "message": "m"}
    good = {"token": token}
    for path, body, expected in (
        ("complete", {}, {"/items": "required"}),
        ("complete", {"items": []}, {"/items": "too_few"}),
        ("complete", {"items": [good] * 101}, {"/items": "too_many"}),
        ("complete", {"items": [good, good]}, {"/items/1/token": "given_twice"}),
        ("complete", {"items": [{"result": 1}]}, {"/items/0/token": "required"}),
        ("complete", {"items": [{"token": 5}]}, {"/items/0/token": "wrong_type"}),
        ("complete", {"items": [{"token": "x" * 1001}]}, {"/items/0/token": "wrong_length"}),
        ("complete", {"items": [{**good, "status": "ok"}]}, {"/items/0/status": "unknown_field"}),
        ("fail", {"items": [good]}, {"/items/0/error": "required"}),
        ("fail", {"items": [{**good, "error": "no"}]}, {"/items/0/error": "wrong_type"}),
        ("fail", {"items": [{**good, "error": {"message": "m"}}]}, {"/items/0/error/type": "required"}),
        ("fail", {"items": [{**good, "error": {**error, "type": ""}}]}, {"/items/0/error/type": "wrong_length"}),
        ("fail", {"items": [{**good, "error": {**error, "type": "x" * 101}}]}, {"/items/0/error/type": "wrong_length"}),
        ("fail", {"items": [{**good, "error": error, "retryAfter": -1}]}, {"/items/0/retryAfter": "out_of_range"}),
        ("fail", {"items": [{**good, "error": error, "permanent": 1}]}, {"/items/0/permanent": "wrong_type"}),
        (
            "fail",
            {"items": [{**good, "error": error, "permanent": True, "retryAfter": 5}]},
            {"/items/0/retryAfter": "exclusive"},
        ),
        ("hand-back", {"items": [{**good, "reason": "tired"}]}, {"/items/0/reason": "unknown_field"}),
        ("hand-back", {"items": [good, good]}, {"/items/1/token": "given_twice"}),
        ("logs", {"lines": []}, {"/lines": "too_few"}),
        ("logs", {"lines": [{**good, "message": "m", "level": "fatal"}]}, {"/lines/0/level": "unknown_value"}),
        ("logs", {"lines": [{**good}]}, {"/lines/0/message": "required"}),
        ("logs", {"lines": [{"token": "x", "message": "m"}]}, {"/lines/0/token": "bad_token"}),
        ("logs", {"lines": [{**good, "message": "m"}] * 1001}, {"/lines": "too_many"}),
        ("progress", {"items": [{**good}]}, {"/items/0/fraction": "required"}),
        ("progress", {"items": [{**good, "fraction": 1.1}]}, {"/items/0/fraction": "out_of_range"}),
        ("progress", {"items": [{**good, "fraction": -0.1}]}, {"/items/0/fraction": "out_of_range"}),
        ("progress", {"items": [{**good, "fraction": "half"}]}, {"/items/0/fraction": "wrong_type"}),
        ("progress", {"items": [{**good, "fraction": 0}] * 2}, {"/items/1/token": "given_twice"}),
        ("heartbeat", {}, {"/workerId": "required"}),
        ("heartbeat", {"workerId": None}, {"/workerId": "wrong_type"}),
        ("heartbeat", {"workerId": worker.worker_id, "tokens": ["x"]}, {"/tokens/0": "bad_token"}),
        ("heartbeat", {"workerId": worker.worker_id, "tokens": ["x"] * 1001}, {"/tokens": "too_many"}),
        ("sign-off", {"workerId": "x"}, {"/workerId": "wrong_type"}),
    ):
        assert pointers(check_problem(await worker.post(path, body), 422, "invalid")) == expected, (path, body)
    assert await worker.complete(token) == ["completed"]


async def test_a_batch_over_the_limit_of_bodies_is_refused_by_size(worker: RemoteTester) -> None:
    response = await worker.post("complete", {"items": [{"token": "x", "result": "x" * 1_100_000}]})
    check_problem(response, 413, "body_too_large")


# Logs ----------------------------------------------------------------------------------------------------------------


async def test_a_worker_writes_to_the_logs_of_its_running_jobs(worker: RemoteTester) -> None:
    await worker.submit(1)
    await worker.submit(2)
    one, two = await worker.claim()
    await worker.hand_back(two["token"])
    lines = [
        {"token": one["token"], "message": "fetched"},
        {"token": one["token"], "message": "a\x00b" + "x" * 5000, "level": "warning"},
        {"token": two["token"], "message": "too late"},
    ]
    assert await worker.ask("logs", {"lines": lines}) == {"written": 2, "dropped": 1}
    shown = (await worker.client.get(f"/api/v1/jobs/{one['jobId']}/logs")).json()["items"]
    assert [(line["level"], line["message"][:10], line["attempt"]) for line in shown] == [
        ("info", "fetched", 1),
        ("warning", "a\\u0000bxx", 1),
    ]
    assert len(shown[1]["message"]) == 4000


async def test_an_attempt_keeps_a_thousand_lines_however_they_are_sent(worker: RemoteTester) -> None:
    await worker.submit()
    token = (await worker.claim_one())["token"]
    lines = [{"token": token, "message": f"line {number}"} for number in range(600)]
    assert await worker.ask("logs", {"lines": lines}) == {"written": 600, "dropped": 0}
    assert await worker.ask("logs", {"lines": lines}) == {"written": 400, "dropped": 200}
    assert await worker.ask("logs", {"lines": lines}) == {"written": 0, "dropped": 600}


async def test_how_far_a_running_job_is_is_shown_with_it(worker: RemoteTester) -> None:
    await worker.submit(1)
    await worker.submit(2)
    one, two = await worker.claim()
    await worker.hand_back(two["token"])
    items = [
        {"token": one["token"], "fraction": 0.4, "message": "4 of 10\x00" + "x" * 5000},
        {"token": two["token"], "fraction": 1},
    ]
    assert await worker.ask("progress", {"items": items}) == {"written": 1, "dropped": 1}
    shown = (await worker.job(one["jobId"]))["progress"]
    assert (shown["fraction"], shown["message"][:14], shown["attempt"]) == (0.4, "4 of 10\\u0000x", 1)
    assert (await worker.job(two["jobId"]))["progress"] is None


def _hours(start: str, end: str) -> int:
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() / 3600)


async def _make_due(api: Api) -> None:
    async with api.database.acquire() as connection:
        await connection.execute("UPDATE taskflow.deferred SET run_at = now()")
        assert await api.store.stage(connection, limit=10) == {"images": 1}


async def test_a_claim_has_one_token_and_its_other_spellings_are_none(worker: RemoteTester) -> None:
    """Otherwise one claim could end twice in one request."""
    job_id = await worker.submit()
    token: str = (await worker.claim_one())["token"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spellings = [token + "=", token + "==", *(token[:-1] + char for char in alphabet if char != token[-1])]
    for spelling in [*spellings, token.replace("-", "+").replace("_", "/") + "="]:
        for path, item in (("complete", {"result": 1}), ("fail", {"error": {"type": "E", "message": "m"}})):
            items = [{"token": token, **item}, {"token": spelling, **item}]
            response = await worker.post(path, {"items": items})
            assert pointers(check_problem(response, 422, "invalid")) == {"/items/1/token": "bad_token"}
    assert await worker.complete(token) == ["completed"]
    assert len((await worker.job(job_id))["attempts"]) == 1


async def test_one_claim_cannot_end_twice_in_one_request_whatever_its_tokens(worker: RemoteTester) -> None:
    await worker.submit()
    token: str = (await worker.claim_one())["token"]
    tokens = Tokens(RootSecret(SECRET))
    ticket = tokens.open(token, DEFAULT_NAMESPACE)
    assert ticket is not None
    other = tokens.seal(msgspec.structs.replace(ticket.claim, failures=ticket.claim.failures + 1))
    response = await worker.post("hand-back", {"items": [{"token": token}, {"token": other}]})
    assert pointers(check_problem(response, 422, "invalid")) == {"/items/1/token": "given_twice"}
