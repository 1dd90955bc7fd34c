"""`taskflow webhooks` on a real database."""

import json

import pytest
from tests.support.operator import Operator

from taskflow.engine.job import DEFAULT_NAMESPACE, DELIVERY_KIND, DELIVERY_QUEUE, JobError
from taskflow.http.secret import RootSecret
from taskflow.webhooks.signature import signing_secret

URL = "https://shop.example/done"
MAIL = {"to": "ada@example.com", "subject": "Hello", "body": "It works."}


@pytest.fixture
def operator(database_url: str) -> Operator:
    operator = Operator(database_url)
    operator.publish()
    return operator


def test_a_callback_is_followed_and_made_again(operator: Operator) -> None:
    submitted = operator.taskflow("jobs", "submit", "send_email", json.dumps(MAIL), "--callback-url", URL)
    assert submitted.code == 0, submitted.err
    job_id = submitted.out.strip()
    assert URL in operator.taskflow("jobs", "show", job_id).out
    assert operator.taskflow("webhooks", "list").err == "no deliveries\n"
    assert operator.taskflow("jobs", "cancel", job_id).code == 0
    [item] = operator.taskflow("webhooks", "list", "--job", job_id, "--json").json["items"]
    assert (item["event"], item["status"]) == ("job.cancelled", "pending")
    delivery_id = item["deliveryId"]
    assert delivery_id in operator.taskflow("webhooks", "list", "--status", "pending").out

    refused = operator.taskflow("webhooks", "replay", delivery_id)
    assert (refused.code, refused.out) == (1, "")
    assert "this delivery is pending" in refused.err

    [claim] = operator.claim(queues=[DELIVERY_QUEUE], kinds=[DELIVERY_KIND])
    operator.fail(claim, JobError("Permanent", "it is gone"), for_good=True)
    shown = operator.taskflow("webhooks", "show", delivery_id)
    assert "it is gone" in shown.out
    assert "failed" in shown.out
    assert URL in shown.out
    replayed = operator.taskflow("webhooks", "replay", delivery_id)
    assert (replayed.code, replayed.out) == (0, f"{delivery_id}  pending\n")
    assert operator.taskflow("webhooks", "show", delivery_id, "--json").json["status"] == "pending"


def test_what_is_wrong_is_named_by_its_option(operator: Operator) -> None:
    wrong = operator.taskflow("webhooks", "list", "--status", "lost", "--limit", "0")
    assert wrong.code == 2
    assert "--status: must be one of pending, delivered, failed" in wrong.err
    assert "--limit" in wrong.err
    assert operator.taskflow("webhooks", "show", "nothing").code == 1
    refused = operator.taskflow(
        "jobs", "submit", "send_email", json.dumps(MAIL), "--callback-url", "http://169.254.169.254/"
    )
    assert refused.code == 2
    assert "--callback-url: points at an address that is not public" in refused.err


def test_the_secret_is_the_one_of_the_api(operator: Operator) -> None:
    root = "k" * 40
    said = operator.taskflow("webhooks", "secret", TASKFLOW_SECRET_KEY=root)
    assert said.out.strip() == signing_secret(RootSecret(root.encode()), DEFAULT_NAMESPACE)
    none = operator.taskflow("webhooks", "secret", TASKFLOW_ENV="production")
    assert none.code == 1
    assert "TASKFLOW_SECRET_KEY" in none.err
