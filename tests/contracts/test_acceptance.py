"""The list of behaviours and the tests that prove them agree."""

from tests.support.acceptance import PAGE, Mark, faults, filled, marks, marks_of, rows

SAMPLE = "| id | behaviour | proven by |\n| --- | --- | --- |\n| S2-1 | Works | not yet |\n| S2-2 | Lasts | not yet |\n"


def test_every_reference_is_right_and_the_page_is_current() -> None:
    assert faults(PAGE.read_text(encoding="utf-8"), marks()) == []


def test_the_page_has_every_id_without_a_gap() -> None:
    known = rows(PAGE.read_text(encoding="utf-8"))
    for system, last in (("S1", 73), ("S2", 49), ("S3", 31), ("S4", 71), ("X", 22)):
        assert [f"{system}-{number}" for number in range(1, last + 1)] == [
            id_ for id_ in known if id_.startswith(f"{system}-")
        ]


def test_markers_are_found_on_tests_files_and_single_parameters() -> None:
    source = (
        "pytestmark = pytest.mark.covers('S1-1')\n"
        "@pytest.mark.covers('S1-2', 'S1-3')\n"
        "def test_a(): ...\n"
        "CASES = [pytest.param(1, marks=pytest.mark.covers('S1-4'))]\n"
    )
    assert sorted(mark.id for mark in marks_of(source, "test_a.py")) == ["S1-1", "S1-2", "S1-3", "S1-4"]


def test_a_marker_of_an_unknown_id_is_named_with_its_place() -> None:
    [fault] = faults(SAMPLE, [Mark("S2-3", "tests/test_a.py", "tests/test_a.py:7")])
    assert "tests/test_a.py:7" in fault
    assert "'S2-3'" in fault


def test_a_column_that_no_longer_fits_the_markers_is_a_fault_and_writing_mends_it() -> None:
    found = [Mark("S2-1", f"tests/test_{name}.py", "") for name in "abcd"]
    [fault] = faults(SAMPLE, found)
    assert "out of date" in fault
    written = filled(SAMPLE, found)
    assert "| S2-1 | Works | `tests/test_a.py`, `tests/test_b.py`, `tests/test_c.py` and 1 more |" in written
    assert "| S2-2 | Lasts | not yet |" in written
    assert faults(written, found) == []
