"""`taskflow keys` on a real database."""

from uuid import uuid4

import pytest
from tests.support.operator import Operator

from taskflow.db.pool import Database
from taskflow.identity.access import Permission
from taskflow.identity.apikeys.service import ApiKeys


@pytest.fixture
def operator(database_url: str) -> Operator:
    return Operator(database_url)


def test_a_key_that_was_made_opens_what_its_scopes_say(operator: Operator, database_url: str) -> None:
    import asyncio

    made = operator.taskflow("keys", "create", "billing", "--scope", "jobs:read")
    assert made.code == 0
    assert "shown this once" in made.err

    async def ask() -> frozenset[Permission]:
        database = Database(database_url)
        principal = await ApiKeys(database).authenticate(made.id)
        await database.stop()
        assert principal is not None
        return principal.permissions

    assert asyncio.run(ask()) == {Permission.READ_JOBS}


def test_a_list_shows_keys_but_never_the_key_itself(operator: Operator) -> None:
    plain = operator.taskflow("keys", "create", "ops", "--scope", "operator", "--days", "30", "--json").json["apiKey"]
    listed = operator.taskflow("keys", "list")
    assert plain not in listed.out
    assert plain[-4:] in listed.out
    [key] = operator.taskflow("keys", "list", "--json").json["items"]
    assert (key["name"], key["scopes"], key["revokedAt"]) == ("ops", ["operator"], None)
    assert key["expiresAt"] is not None
    assert "apiKey" not in key


def test_a_revoked_key_opens_nothing(operator: Operator, database_url: str) -> None:
    import asyncio

    made = operator.taskflow("keys", "create", "old", "--scope", "owner", "--json").json
    ended = operator.taskflow("keys", "revoke", made["keyId"])
    assert (ended.code, ended.out) == (0, f"{made['keyId']}  revoked\n")

    async def ask() -> object:
        database = Database(database_url)
        principal = await ApiKeys(database).authenticate(made["apiKey"])
        await database.stop()
        return principal

    assert asyncio.run(ask()) is None


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("create", "x", "--scope", "everything"), "--scope"),
        (("create", "", "--scope", "owner"), "NAME: must be 1 to"),
        (("revoke", str(uuid4())), "there is no API key"),
    ],
)
def test_what_cannot_be_done_is_one_line(operator: Operator, words: tuple[str, ...], complaint: str) -> None:
    said = operator.taskflow("keys", *words)
    assert said.code in {1, 2}
    assert complaint in said.err
    assert said.err.count("\n") == 1
