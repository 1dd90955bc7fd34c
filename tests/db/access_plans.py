"""What `test_plans` fills in of API keys and idempotency keys, and what their statements may cost."""

from collections.abc import Mapping
from datetime import timedelta
from hashlib import md5, sha256
from typing import Any
from uuid import UUID

from tests.db.planning import Case, Work

from taskflow.engine.job import DEFAULT_NAMESPACE
from taskflow.http import idempotency
from taskflow.identity.apikeys import repository

KEYS, WRITES = 2_000, 4_000

FILL = f"""
    DELETE FROM taskflow.api_key;
    DELETE FROM taskflow.idempotency_key;
    INSERT INTO taskflow.api_key
    SELECT md5(n::text)::uuid, CASE WHEN n <= 20 THEN '{DEFAULT_NAMESPACE}'::uuid ELSE gen_random_uuid() END, 'key',
        sha256(n::text::bytea), 'abcd', '{{owner}}', %(now)s
    FROM generate_series(1, {KEYS}) AS n;
    INSERT INTO taskflow.idempotency_key
    SELECT md5((n %% 10)::text)::uuid, '/jobs', n::text, '{DEFAULT_NAMESPACE}', sha256(n::text::bytea),
        %(now)s::timestamptz - n * interval '1 min', 201, '[]', ''
    FROM generate_series(1, {WRITES}) AS n;
"""
TABLES = ("api_key", "idempotency_key")

KEY = UUID(md5(b"7").hexdigest())
DAY = timedelta(days=1)


def write(statement: str, key: str = "7", **more: Any) -> Work:
    names = {"principal_id": KEY, "route": "/jobs", "key": key, **more}
    return lambda _store, connection, _: idempotency.QUERIES[statement].fetch(connection, **names)


CASES: Mapping[str, Case] = {
    "any_api_key": Case(lambda _store, connection, _: repository.has_any(connection), {"api_key_pkey"}, rows=1),
    "find_api_key": Case(
        lambda _store, connection, _: repository.find(connection, sha256(b"7").digest(), now=None),
        {"api_key_hash"},
        rows=1,
    ),
    "insert_api_key": Case(
        lambda _store, connection, _: repository.insert(
            connection,
            namespace=DEFAULT_NAMESPACE,
            name="new",
            hash_=bytes(32),
            hint="abcd",
            scopes=["owner"],
            lifetime=None,
            now=None,
        ),
        set(),
        rows=0,
    ),
    "list_api_keys": Case(
        lambda _store, connection, _: repository.list_by_namespace(connection, DEFAULT_NAMESPACE, limit=10),
        {"api_key_list"},
        rows=10,
    ),
    "revoke_api_key": Case(
        lambda _store, connection, _: repository.revoke(connection, KEY, DEFAULT_NAMESPACE, now=None),
        {"api_key_list"},
        rows=1,
    ),
    "claim_idempotency_key": Case(
        write("claim_idempotency_key", namespace=DEFAULT_NAMESPACE, fingerprint=bytes(32), now=None), set(), rows=1
    ),
    "get_idempotent_answer": Case(write("get_idempotent_answer", kept=DAY, now=None), {"idempotency_key_pkey"}, rows=1),
    "free_idempotency_key": Case(
        write("free_idempotency_key", "4000", kept=DAY, now=None), {"idempotency_key_pkey"}, rows=1
    ),
    "keep_idempotent_answer": Case(
        write("keep_idempotent_answer", status=200, headers="[]", body=b""), {"idempotency_key_pkey"}, rows=1
    ),
    "prune_idempotency_keys": Case(
        lambda _store, connection, _: idempotency.QUERIES["prune_idempotency_keys"].execute(
            connection, kept=DAY, limit=10, now=None
        ),
        {"idempotency_key_age"},
        rows=30,
    ),
}
