"""The resolver, against `graphlib` and against the recursive search it replaces."""

from graphlib import CycleError, TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskflow_learn.structures.resolver import PROBLEM_LIMIT, Cycle, Missing, resolve

Graph = dict[str, list[str]]


@st.composite
def graphs(draw: st.DrawFn, *, size: int = 9) -> Graph:
    """Any graph: loops, circles and several parts included."""
    nodes = [str(number) for number in range(draw(st.integers(1, size)))]
    return {node: draw(st.lists(st.sampled_from(nodes), unique=True, max_size=4)) for node in nodes}


@st.composite
def acyclic_graphs(draw: st.DrawFn) -> Graph:
    nodes = [str(number) for number in range(draw(st.integers(1, 12)))]
    shuffled = draw(st.permutations(nodes))
    graph: Graph = {node: [] for node in nodes}
    for place, node in enumerate(shuffled):
        graph[node] = draw(st.lists(st.sampled_from(shuffled[:place]), unique=True)) if place else []
    return graph


def recursive(graph: Graph) -> list[str]:
    """The six-line search that everybody writes first."""
    order: list[str] = []

    def visit(node: str) -> None:
        for dependency in graph[node]:
            visit(dependency)
        if node not in order:
            order.append(node)

    for node in graph:
        visit(node)
    return order


def reaches_circle(graph: Graph, start: str) -> bool:
    """Whether a circle can be reached from *start*, by asking `graphlib` about the part that can be reached."""
    reached, todo = set[str](), [start]
    while todo:
        node = todo.pop()
        if node not in reached:
            reached.add(node)
            todo += graph[node]
    try:
        TopologicalSorter({node: graph[node] for node in reached}).prepare()
    except CycleError:
        return True
    return False


@pytest.mark.covers("S1-62")
@given(acyclic_graphs())
def test_order_is_that_of_the_recursive_search(graph: Graph) -> None:
    resolution = resolve(graph, graph.get)
    assert resolution.order == recursive(graph)
    assert not resolution.problems
    sorter = TopologicalSorter(graph)
    assert {*sorter.static_order()} == {*resolution.order}


@pytest.mark.covers("S1-62", "X-4")
@given(graphs())
def test_a_task_is_ordered_exactly_if_it_reaches_no_circle(graph: Graph) -> None:
    """One broken part does not break the others."""
    resolution = resolve(graph, graph.get)
    broken = {node for node in graph if reaches_circle(graph, node)}
    assert {*resolution.unresolved} == broken
    assert {*resolution.order} == {*graph} - broken
    assert len(resolution.order) + len(resolution.unresolved) == len(graph)
    place = {node: index for index, node in enumerate(resolution.order)}
    assert all(place[dependency] < place[node] for node in resolution.order for dependency in graph[node])


@pytest.mark.covers("S1-62")
@given(graphs())
def test_a_reported_circle_is_one(graph: Graph) -> None:
    for problem in resolve(graph, graph.get).problems:
        assert isinstance(problem, Cycle)
        assert problem.path[0] == problem.path[-1]
        assert all(after in graph[before] for before, after in zip(problem.path, problem.path[1:], strict=False))


def test_a_missing_dependency_is_named_with_the_task_that_requires_it() -> None:
    graph = {"a": ["b"], "b": ["ghost"], "c": []}
    resolution = resolve(graph, graph.get)
    assert resolution.problems == [Missing("ghost", "b")]
    assert resolution.order == ["c"]
    assert {*resolution.unresolved} == {"a", "b"}


@pytest.mark.covers("S1-62", "X-4")
@pytest.mark.parametrize("closed", [False, True], ids=["chain", "circle"])
def test_a_chain_of_a_hundred_thousand_is_no_problem(closed: bool) -> None:
    size = 100_000
    names = [str(number) for number in range(size)]
    graph = {name: [names[number + 1]] for number, name in enumerate(names[:-1])}
    graph[names[-1]] = [names[0]] if closed else []
    resolution = resolve(graph, graph.get)
    if closed:
        (problem,) = resolution.problems
        assert isinstance(problem, Cycle)
        assert len(problem.path) == size + 1
    else:
        assert resolution.order == names[::-1]


def test_very_many_circles_cost_no_more_than_a_few() -> None:
    """Every task of the chain also waits for the first: as many circles as tasks, of which a few are reported."""
    size = 20_000
    names = [str(number) for number in range(size)]
    graph = {names[0]: [names[1]], names[-1]: [names[0]]}
    graph |= {name: [names[0], names[number + 1]] for number, name in enumerate(names[1:-1], 1)}
    resolution = resolve(graph, graph.get)
    assert len(resolution.problems) == PROBLEM_LIMIT
    assert len(resolution.unresolved) == size
