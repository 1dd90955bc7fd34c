"""What `test_plans` fills in of files, and what their statements may cost."""

from collections.abc import Mapping
from hashlib import md5, sha256
from typing import Any
from uuid import UUID

from tests.db.planning import Case

from taskflow.adapters import blobs
from taskflow.engine.job import DEFAULT_NAMESPACE
from taskflow.files import repository
from taskflow.kernel.ids import MAX_ID

FILES = 4_000

FILL = f"""
    DELETE FROM taskflow.file;
    DELETE FROM taskflow.file_chunk;
    INSERT INTO taskflow.file
    SELECT md5(n::text)::uuid, CASE WHEN n %% 2 = 1 THEN '{DEFAULT_NAMESPACE}'::uuid ELSE gen_random_uuid() END,
        'f', 1, 'text/plain', sha256(n::text::bytea), CASE WHEN n %% 5 = 0 THEN md5('job ' || n)::uuid END, %(now)s,
        CASE WHEN n %% 10 = 0 THEN %(now)s::timestamptz + (n - {FILES} * 0.9) * interval '1 s' END
    FROM generate_series(1, {FILES}) AS n;
    INSERT INTO taskflow.file_chunk
    SELECT id, number, '\\x00' FROM taskflow.file, generate_series(0, 1) AS number;
"""
TABLES = ("file", "file_chunk")

FILE = UUID(md5(b"7").hexdigest())
MADE_BY, MADE = UUID(md5(b"job 5").hexdigest()), sha256(b"5").digest()
NEW: Mapping[str, Any] = {
    "namespace": DEFAULT_NAMESPACE,
    "name": "f",
    "size": 1,
    "media_type": "text/plain",
    "expires_at": None,
    "retention": None,
    "now": None,
}

CASES: Mapping[str, Case] = {
    "find_file": Case(
        lambda _store, connection, _: repository.find(connection, FILE, namespace=DEFAULT_NAMESPACE, now=None),
        {"file_pkey"},
        rows=1,
    ),
    "insert_file": Case(
        lambda _store, connection, _: repository.insert(connection, job_id=MADE_BY, sha256=bytes(32), **NEW),
        set(),
        rows=1,
    ),
    "find_made_file": Case(
        lambda _store, connection, _: repository.insert(connection, job_id=MADE_BY, sha256=MADE, **NEW),
        {"file_made"},
        rows=1,
    ),
    "list_files": Case(
        lambda _store, connection, _: repository.list_page(
            connection, DEFAULT_NAMESPACE, before=MAX_ID, limit=50, now=None
        ),
        {"file_list"},
        rows=80,
    ),
    "delete_file": Case(
        lambda _store, connection, _: repository.delete(connection, FILE, DEFAULT_NAMESPACE, now=None),
        {"file_list"},
        rows=1,
    ),
    "prune_files": Case(
        lambda _store, connection, _: repository.prune(connection, limit=10, now=None), {"file_expiry"}, rows=30
    ),
    "write_chunk": Case(
        lambda _store, connection, _: blobs.QUERIES["write_chunk"].execute(
            connection, blob_id=FILE, number=2, content=b"x"
        ),
        set(),
        rows=1,
    ),
    "read_chunk": Case(
        lambda _store, connection, _: blobs.QUERIES["read_chunk"].fetchval(connection, blob_id=FILE, number=0),
        {"file_chunk_pkey"},
        rows=1,
    ),
    "delete_chunks": Case(
        lambda _store, connection, _: blobs.QUERIES["delete_chunks"].execute(connection, blob_ids=[FILE]),
        {"file_chunk_pkey"},
        rows=2,
    ),
}
