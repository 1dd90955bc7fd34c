"""The linked list and the heap, against the structures of the standard library."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from taskflow_learn.structures.heap import MaxHeap
from taskflow_learn.structures.linked_list import LinkedList


class ListMachine(RuleBasedStateMachine):
    """Random appends and removes give what a Python list gives."""

    def __init__(self) -> None:
        super().__init__()
        self.linked: LinkedList[int] = LinkedList()
        self.model: list[int] = []

    @rule(value=st.integers(0, 5))
    def append(self, value: int) -> None:
        self.linked.append(value)
        self.model.append(value)

    @rule(value=st.integers(0, 5))
    def remove(self, value: int) -> None:
        assert self.linked.remove(value) is (value in self.model)
        if value in self.model:
            self.model.remove(value)

    @invariant()
    def same(self) -> None:
        assert [*self.linked] == self.model
        assert len(self.linked) == len(self.model)


TestLinkedListAgainstList = pytest.mark.covers("S1-61")(ListMachine.TestCase)


@pytest.mark.covers("S1-61")
def test_append_reaches_the_end_without_walking() -> None:
    """The tail points at the last node, also after that node was removed."""
    linked = LinkedList("abc")
    assert linked.remove("c")
    linked.append("d")
    assert [*linked] == ["a", "b", "d"]
    assert linked._tail is not None
    assert linked._tail.value == "d"


class HeapMachine(RuleBasedStateMachine):
    """Random pushes, pops and removes give what `heapq` over (-priority, arrival) gives."""

    def __init__(self) -> None:
        super().__init__()
        self.heap = MaxHeap()
        self.model: list[tuple[int, int, str]] = []
        self.arrival = 0

    @rule(priority=st.integers(-3, 3))
    def push(self, priority: int) -> None:
        self.arrival += 1
        self.heap.push(f"k{self.arrival}", priority, self.arrival)
        heapq.heappush(self.model, (-priority, self.arrival, f"k{self.arrival}"))

    @rule()
    def pop(self) -> None:
        assert self.heap.pop() == (heapq.heappop(self.model)[2] if self.model else None)

    @precondition(lambda self: bool(self.model))
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(sorted(self.model)))
        assert self.heap.remove(entry[2])
        assert not self.heap.remove(entry[2])
        self.model.remove(entry)
        heapq.heapify(self.model)

    @invariant()
    def same(self) -> None:
        assert len(self.heap) == len(self.model)
        assert self.heap.peek() == (self.model[0][2] if self.model else None)
        assert sorted(self.heap.keys()) == sorted(key for _, _, key in self.model)

    @invariant()
    def no_child_is_more_urgent_than_its_parent(self) -> None:
        entries = self.heap._entries
        assert all(entries[(i - 1) // 2].rank <= entries[i].rank for i in range(1, len(entries)))
        assert all(entries[index].key == key for key, index in self.heap._index.items())


TestHeapAgainstHeapq = pytest.mark.covers("S1-60")(HeapMachine.TestCase)


@pytest.mark.covers("S1-60")
@given(st.lists(st.integers(1, 3), max_size=60))
def test_equal_priorities_leave_in_order_of_arrival(priorities: list[int]) -> None:
    heap = MaxHeap()
    for arrival, priority in enumerate(priorities):
        heap.push(str(arrival), priority, arrival)
    popped = [heap.pop() for _ in priorities]
    expected = sorted(range(len(priorities)), key=lambda arrival: -priorities[arrival])  # sorted() is stable
    assert popped == [str(arrival) for arrival in expected]


def test_a_key_is_in_the_heap_once() -> None:
    heap = MaxHeap()
    heap.push("a", 1, 1)
    with pytest.raises(KeyError):
        heap.push("a", 2, 2)
    assert heap.keys() == ["a"]
