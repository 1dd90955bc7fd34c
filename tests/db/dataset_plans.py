"""What `test_plans` fills in of datasets, and what their statements may cost."""

from collections.abc import Mapping
from typing import Any

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

# statement → how it is run, the indexes it uses, the rows it may read, the tables it reads from end to end
CASES: Mapping[str, tuple[Any, set[str], int, set[str]]] = {
    "find_dataset": (lambda _store, connection, _: repository.find(connection, *ONE), {"dataset_pkey"}, 1, set()),
    "list_datasets": (
        lambda _store, connection, _: repository.list_page(connection, DEFAULT_NAMESPACE, after="d2", limit=10),
        {"dataset_pkey"},
        10,
        set(),
    ),
    "list_rows": (
        lambda _store, connection, _: repository.list_rows(connection, *ONE, after="k1", limit=10),
        {"dataset_row_pkey"},
        10,
        set(),
    ),
    "lock_dataset": (lambda _store, connection, _: repository.lock(connection, *ONE), {"dataset_pkey"}, 1, set()),
    "switch_rows": (
        lambda _store, connection, _: repository.switch(connection, *ONE, GIVEN),
        {"dataset_row_pkey"},
        ROWS,
        set(),
    ),
    "delete_rows": (
        lambda _store, connection, _: repository.delete(connection, *ONE),
        {"dataset_row_pkey"},
        ROWS,
        set(),
    ),
    "delete_dataset": (lambda _store, connection, _: repository.delete(connection, *ONE), {"dataset_pkey"}, 1, set()),
}
