"""How PostgreSQL runs the statements of files and chunks: by an index, touching what they are asked for and no more."""

import json
from typing import Any
from uuid import uuid4

import pytest

from taskflow.adapters import blobs
from taskflow.db.query import Connection, Query
from taskflow.engine.job import DEFAULT_NAMESPACE
from taskflow.files import repository
from taskflow.files.service import MAX_ID

FILL = """
    INSERT INTO taskflow.file
    SELECT taskflow.uuid_v7(now() - n * interval '1 s'), CASE WHEN n % 2 = 0 THEN $1::uuid ELSE gen_random_uuid() END,
        'f', 1, 'text/plain', sha256(n::text::bytea), CASE WHEN n % 5 = 0 THEN gen_random_uuid() END, now(),
        CASE WHEN n % 10 = 0 THEN now() + (n - 19000) * interval '1 s' END
    FROM generate_series(1, 20000) AS n
"""
CHUNKS = (
    "INSERT INTO taskflow.file_chunk SELECT id, number, '\\x00' FROM taskflow.file, generate_series(0, 1) AS number"
)
OF = {"namespace": DEFAULT_NAMESPACE, "now": None}
CASES: list[tuple[Query, dict[str, Any], set[str], int]] = [
    (repository.QUERIES["find_file"], {**OF, "id": MAX_ID}, {"file_pkey", "file_list"}, 1),
    (repository.QUERIES["find_made_file"], {"job_id": uuid4(), "sha256": b"x"}, {"file_made"}, 1),
    (repository.QUERIES["list_files"], {**OF, "before": MAX_ID, "limit": 50}, {"file_list"}, 80),
    (repository.QUERIES["delete_file"], {**OF, "id": MAX_ID}, {"file_pkey", "file_list"}, 1),
    (repository.QUERIES["prune_files"], {"now": None, "limit": 10}, {"file_expiry"}, 30),
    (blobs.QUERIES["read_chunk"], {"blob_id": MAX_ID, "number": 0}, {"file_chunk_pkey"}, 1),
    (blobs.QUERIES["delete_chunks"], {"blob_ids": [MAX_ID]}, {"file_chunk_pkey"}, 1),
]


@pytest.mark.slow
@pytest.mark.usefixtures("spoilt_schema")
async def test_each_statement_runs_by_its_index(connection: Connection) -> None:
    await connection.execute(FILL, DEFAULT_NAMESPACE)
    await connection.execute(CHUNKS)
    for analysed in (False, True):
        if analysed:
            await connection.execute("VACUUM ANALYZE taskflow.file, taskflow.file_chunk")
        for query, params, indexes, rows in CASES:
            said = await connection.fetchval(
                f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {query.sql}", *query.arguments(params)
            )
            nodes = list(nodes_of(json.loads(said)[0]["Plan"]))
            scans = [node for node in nodes if "Scan" in node["Node Type"] and node["Node Type"] != "Tid Scan"]
            assert {node.get("Index Name") for node in scans} <= indexes, query.name
            assert scans, query.name
            touched = sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans)
            assert touched <= rows, query.name


def nodes_of(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for inner in plan.get("Plans", []) for node in nodes_of(inner))]
