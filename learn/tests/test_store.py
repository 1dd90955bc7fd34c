"""The store and the validation in front of it, without a server."""

import csv
import io
import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from taskflow_learn.errors import Code, Refusal
from taskflow_learn.tasks.export import csv_rows, in_pieces, json_array, ndjson_rows
from taskflow_learn.tasks.model import Status, Task
from taskflow_learn.tasks.store import TaskStore
from taskflow_learn.tasks.validation import TaskFields, check_changes, check_new_task

UNKNOWN = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


class StoreMachine(RuleBasedStateMachine):
    """Random writes: the queue always holds what is not completed, in order, and no list names a task that is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.store = TaskStore()
        self.ids: list[str] = []

    def some(self, data: st.DataObject) -> list[str]:
        return data.draw(st.lists(st.sampled_from(self.ids), unique=True, max_size=3)) if self.ids else []

    @rule(data=st.data(), priority=st.integers(1, 10), status=st.sampled_from(Status))
    def create(self, data: st.DataObject, priority: int, status: Status) -> None:
        fields = TaskFields(title="t", priority=priority, status=status, dependencies=self.some(data))
        self.ids.append(self.store.create(fields).id)

    @precondition(lambda self: bool(self.ids))
    @rule(data=st.data(), priority=st.integers(1, 10), status=st.sampled_from(Status))
    def update(self, data: st.DataObject, priority: int, status: Status) -> None:
        task_id = data.draw(st.sampled_from(self.ids))
        dependencies = [other for other in self.some(data) if other != task_id]
        self.store.update(task_id, TaskFields(priority=priority, status=status, dependencies=dependencies))

    @precondition(lambda self: bool(self.ids))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        task_id = data.draw(st.sampled_from(self.ids))
        self.store.delete(task_id)
        self.ids.remove(task_id)

    @rule()
    def dequeue(self) -> None:
        expected = self.store.next()
        assert self.store.dequeue() is expected
        if expected is not None:
            self.ids.remove(expected.id)

    @invariant()
    def next_is_the_most_urgent_and_oldest_that_is_not_completed(self) -> None:
        waiting = [task for task in self.store.all() if task.status is not Status.COMPLETED]
        expected = min(waiting, key=lambda task: (-task.priority, task.arrival), default=None)
        assert self.store.next() is expected
        assert {task.id for task in self.store.queue()} == {task.id for task in waiting}

    @invariant()
    def no_dependency_is_missing(self) -> None:
        ids = {task.id for task in self.store.all()}
        assert ids == {*self.ids}
        assert all(dependency in ids for task in self.store.all() for dependency in task.dependencies)

    @invariant()
    def who_waits_for_whom_is_known_in_both_directions(self) -> None:
        forward = {(dependency, task.id) for task in self.store.all() for dependency in task.dependencies}
        backward = {(key, task) for key, tasks in self.store._dependents.items() for task in tasks}
        assert forward == backward


TestStore = pytest.mark.covers("S1-12", "S1-13", "S1-59", "S1-60", "S1-63", "X-4")(StoreMachine.TestCase)


@pytest.mark.covers("S1-63")
def test_dequeue_takes_the_task_out_of_queue_and_store() -> None:
    store = TaskStore()
    low = store.create(TaskFields(title="low", priority=1))
    high = store.create(TaskFields(title="high", priority=9, dependencies=[low.id]))
    assert store.dequeue() is high
    assert store.all() == [low]
    assert store.dequeue() is low
    assert store.dequeue() is None


def test_a_full_store_says_so() -> None:
    store = TaskStore(limit=1)
    store.create(TaskFields(title="only"))
    with pytest.raises(Refusal) as refused:
        store.create(TaskFields(title="one too many"))
    assert refused.value.code is Code.SERVICE_UNAVAILABLE
    assert refused.value.details == {"max": 1}


def test_a_refused_update_changes_nothing() -> None:
    store = TaskStore()
    task = store.create(TaskFields(title="before"))
    with pytest.raises(Refusal):
        store.update(task.id, TaskFields(title="after", dependencies=[UNKNOWN]))
    assert task.title == "before"
    assert not [*task.dependencies]


@pytest.mark.covers("S1-7", "S1-8")
def test_defaults_and_shape() -> None:
    task = TaskStore().create(TaskFields(title="a")).to_json()
    created = task["createdAt"]
    assert isinstance(created, str)
    assert created.endswith("Z")
    assert len(created) == len("2026-01-31T09:30:00.125Z")
    task_id = task.pop("id")
    assert isinstance(task_id, str)
    assert UUID(task_id).version == 4
    assert task == {
        "title": "a",
        "description": "",
        "status": "pending",
        "priority": 1,
        "dependencies": [],
        "createdAt": created,
        "updatedAt": created,
    }


@pytest.mark.covers("S1-8", "S1-51")
@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ([], "body", Code.VALIDATION_ERROR),
        ("text", "body", Code.VALIDATION_ERROR),
        (None, "body", Code.VALIDATION_ERROR),
        ({}, "title", Code.MISSING_REQUIRED_FIELD),
        ({"title": 7}, "title", Code.VALIDATION_ERROR),
        ({"title": "  "}, "title", Code.VALIDATION_ERROR),
        ({"title": "x" * 201}, "title", Code.VALIDATION_ERROR),
        ({"title": "\ud800"}, "title", Code.VALIDATION_ERROR),
        ({"title": "a", "description": None}, "description", Code.VALIDATION_ERROR),
        ({"title": "a", "description": "x" * 10_001}, "description", Code.VALIDATION_ERROR),
        ({"title": "a", "status": "done"}, "status", Code.VALIDATION_ERROR),
        ({"title": "a", "status": ["pending"]}, "status", Code.VALIDATION_ERROR),
        ({"title": "a", "priority": "5"}, "priority", Code.VALIDATION_ERROR),
        ({"title": "a", "priority": 1.5}, "priority", Code.VALIDATION_ERROR),
        ({"title": "a", "priority": True}, "priority", Code.VALIDATION_ERROR),
        ({"title": "a", "priority": 0}, "priority", Code.VALIDATION_ERROR),
        ({"title": "a", "priority": 11}, "priority", Code.VALIDATION_ERROR),
        ({"title": "a", "dependencies": UNKNOWN}, "dependencies", Code.VALIDATION_ERROR),
        ({"title": "a", "dependencies": ["x"]}, "dependencies", Code.VALIDATION_ERROR),
        ({"title": "a", "dependencies": [7]}, "dependencies", Code.VALIDATION_ERROR),
        ({"title": "a", "dependencies": [UNKNOWN, UNKNOWN]}, "dependencies", Code.VALIDATION_ERROR),
        ({"title": "a", "dependencies": [UNKNOWN] * 1_001}, "dependencies", Code.VALIDATION_ERROR),
        ({"title": "a", "prioritty": 5}, "prioritty", Code.VALIDATION_ERROR),
    ],
)
def test_what_may_not_be_written_is_refused_by_field(body: Any, field: str, code: Code) -> None:
    with pytest.raises(Refusal) as refused:
        check_new_task(body)
    assert refused.value.code is code
    assert refused.value.details is not None
    assert refused.value.details["field"] == field
    assert field in refused.value.message


def test_a_task_that_was_read_can_be_sent_back() -> None:
    task = TaskStore().create(TaskFields(title="a", description="b", priority=3)).to_json()
    assert check_changes(task) == {
        "title": "a",
        "description": "b",
        "status": "pending",
        "priority": 3,
        "dependencies": [],
    }


nasty_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)


@st.composite
def tasks(draw: st.DrawFn) -> list[Task]:
    store = TaskStore()
    for _ in range(draw(st.integers(0, 5))):
        ids = [task.id for task in store.all()]
        dependencies = draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
        store.create(TaskFields(title=draw(nasty_text), description=draw(nasty_text), dependencies=dependencies))
    return store.all()


@pytest.mark.covers("S1-19", "S1-20")
@given(tasks(), st.integers(1, 200))
def test_exports_can_be_read_back(tasks: list[Task], size: int) -> None:
    """Quotes, commas and line breaks survive, wherever the pieces are cut."""
    text = b"".join(in_pieces(csv_rows(tasks), size)).decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    expected = [task.to_json() for task in tasks]
    assert header == ["id", "title", "description", "status", "priority", "dependencies", "createdAt", "updatedAt"]
    assert [row[1:3] for row in rows] == [[task["title"], task["description"]] for task in expected]
    assert [json.loads(row[5]) for row in rows] == [task["dependencies"] for task in expected]
    lines = b"".join(in_pieces(ndjson_rows(tasks), size)).decode().split("\n")
    assert [json.loads(line) for line in lines if line] == expected
    assert json.loads(b"".join(in_pieces(json_array(tasks), size))) == expected
