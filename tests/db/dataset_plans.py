"""What `test_plans` fills in of datasets, and what their statements may cost."""

from collections.abc import Mapping

from tests.db.planning import Case

from taskflow.datasets import repository
from taskflow.datasets.repository import NewRow
from taskflow.engine.job import DEFAULT_NAMESPACE

DATASETS, ROWS = 400, 30  # of one namespace; rows of each

FILL = f"""
    DELETE FROM taskflow.dataset_row;
    DELETE FROM taskflow.dataset;
    INSERT INTO taskflow.dataset
    SELECT '{DEFAULT_NAMESPACE}', 'd' || n, NULL, NULL, NULL, 1, {ROWS}, %(now)s, %(now)s, %(now)s
    FROM generate_series(1, {DATASETS}) AS n;
    INSERT INTO taskflow.dataset_row
    SELECT '{DEFAULT_NAMESPACE}', 'd' || n, 'k' || r, '{{}}', decode(md5(r::text), 'hex'), %(now)s
    FROM generate_series(1, {DATASETS}) AS n, generate_series(1, {ROWS}) AS r;
"""
TABLES = ("dataset", "dataset_row")

ONE = (DEFAULT_NAMESPACE, "d7")
GIVEN = [NewRow(f"k{n}", "{}", bytes(16)) for n in range(5)]

CASES: Mapping[str, Case] = {
    "count_datasets": Case(
        lambda _store, connection, _: repository.count(connection, DEFAULT_NAMESPACE),
        {"dataset_pkey"},
        rows=DATASETS,
        buffers=1_000,
    ),
    "make_dataset": Case(
        lambda _store, connection, _: repository.make(connection, DEFAULT_NAMESPACE, "new"), set(), rows=1
    ),
    "note_sync": Case(
        lambda _store, connection, _: repository.note_sync(
            connection, *ONE, source={}, etag=None, last_modified=None, is_changed=True, row_count=ROWS
        ),
        {"dataset_pkey"},
        rows=1,
    ),
    "find_dataset": Case(lambda _store, connection, _: repository.find(connection, *ONE), {"dataset_pkey"}, rows=1),
    "list_datasets": Case(
        lambda _store, connection, _: repository.list_page(connection, DEFAULT_NAMESPACE, after="d2", limit=10),
        {"dataset_pkey"},
        rows=10,
    ),
    "list_rows": Case(
        lambda _store, connection, _: repository.list_rows(connection, *ONE, after="k1", limit=10),
        {"dataset_row_pkey"},
        rows=10,
    ),
    "lock_dataset": Case(lambda _store, connection, _: repository.lock(connection, *ONE), {"dataset_pkey"}, rows=1),
    "switch_rows": Case(
        lambda _store, connection, _: repository.switch(connection, *ONE, GIVEN), {"dataset_row_pkey"}, rows=ROWS
    ),
    "delete_rows": Case(
        lambda _store, connection, _: repository.delete(connection, *ONE), {"dataset_row_pkey"}, rows=ROWS
    ),
    "delete_dataset": Case(lambda _store, connection, _: repository.delete(connection, *ONE), {"dataset_pkey"}, rows=1),
}
