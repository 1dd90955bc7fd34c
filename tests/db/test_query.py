"""SQL files with named parameters: what is a parameter, what is not, and that names must match."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow.db.query import Connection, Queries, Query, load_queries


def sql_of(text: str) -> str:
    """The statement without the comment that names it."""
    return Query("q", text).sql.removeprefix("/* taskflow:q */ ")


@pytest.mark.parametrize(
    ("text", "sql", "names"),
    [
        ("SELECT :a, :b", "SELECT $1, $2", ["a", "b"]),
        ("SELECT :b, :a, :b", "SELECT $1, $2, $1", ["b", "a"]),
        ("SELECT :a::text", "SELECT $1::text", ["a"]),
        ("SELECT x::text, :a", "SELECT x::text, $1", ["a"]),
        ("SELECT '::', ':no', 'it''s :no', :a", "SELECT '::', ':no', 'it''s :no', $1", ["a"]),
        ("-- about :no\nSELECT :a -- and :no", "SELECT $1", ["a"]),
        ("SELECT :a_1,:b2", "SELECT $1,$2", ["a_1", "b2"]),
        ("SELECT 1;\n", "SELECT 1", []),
        ("SELECT '--', :a", "SELECT '--', $1", ["a"]),
        ("SELECT ARRAY[:a]::uuid[]", "SELECT ARRAY[$1]::uuid[]", ["a"]),
    ],
)
def test_names_become_numbers_in_order_of_first_use(text: str, sql: str, names: list[str]) -> None:
    assert sql_of(text) == sql
    assert list(Query("q", text).names) == names


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1))
def test_every_use_of_a_name_is_the_same_parameter(used: list[str]) -> None:
    query = Query("q", "SELECT " + ", ".join(f":{name}" for name in used))
    numbers = [f"${list(query.names).index(name) + 1}" for name in used]
    assert sql_of("SELECT " + ", ".join(f":{name}" for name in used)) == "SELECT " + ", ".join(numbers)


def test_a_statement_can_be_told_by_its_name_in_the_servers_views() -> None:
    assert Query("claim", "SELECT 1").sql.startswith("/* taskflow:claim */ ")


@pytest.mark.parametrize("params", [{}, {"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "B": 2}])
def test_a_missing_or_unknown_name_is_refused_and_named(params: dict[str, int]) -> None:
    with pytest.raises(TypeError, match=r"'q' takes \['a', 'b'\]"):
        Query("q", "SELECT :b, :a").arguments(params)


def test_arguments_come_in_the_order_of_the_numbers() -> None:
    assert Query("q", "SELECT :b, :a").arguments({"a": 1, "b": 2}) == [2, 1]


def test_a_folder_is_read_once_and_its_files_are_found_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "find_it.sql").write_text("-- Finds it.\nSELECT :a;\n")
    (tmp_path / "notes.txt").write_text("not SQL")
    queries = load_queries(tmp_path)
    assert [query.name for query in queries] == ["find_it"]
    assert queries["find_it"].names == ("a",)
    assert load_queries(tmp_path) is queries
    with pytest.raises(KeyError):
        queries["lose_it"]


def test_a_folder_without_statements_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no \.sql files"):
        Queries(tmp_path)


async def test_a_statement_fetches_rows_a_row_a_value_or_nothing(connection: Connection) -> None:
    query = Query("q", "SELECT n, :label::text AS label FROM generate_series(1, :top::integer) AS n ORDER BY n")
    rows = await query.fetch(connection, label="x", top=2)
    assert [tuple(row) for row in rows] == [(1, "x"), (2, "x")]
    row = await query.fetchrow(connection, label="x", top=2)
    assert row is not None
    assert row["n"] == 1
    assert await query.fetchrow(connection, label="x", top=0) is None
    assert await query.fetchval(connection, label="x", top=2) == 1
    assert await query.execute(connection, label="x", top=2) == "SELECT 2"


async def test_a_statement_says_how_many_rows_it_wrote(connection: Connection) -> None:
    await connection.execute("CREATE TEMPORARY TABLE note (n integer)")
    assert await Query("q", "INSERT INTO note SELECT generate_series(1, :top::integer)").write(connection, top=3) == 3
    assert await Query("q", "UPDATE note SET n = 0 WHERE n < :below::integer").write(connection, below=3) == 2
    assert await Query("q", "DELETE FROM note WHERE n > :above::integer").write(connection, above=9) == 0
