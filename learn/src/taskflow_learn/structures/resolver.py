"""
Topological order: every task after all it depends on, or the reason why there is none.

Depth-first search with three colours. White is unseen; grey is on the path from the root to here; black is finished.
An edge to a grey task closes a circle, and the path itself is the proof.

The obvious way is a recursive function of six lines. It dies on a chain of a thousand tasks, because every call takes
a frame of the interpreter's stack and Python allows about a thousand. So the stack here is a list of our own: same
search, same order, and the only limit is memory.

What is broken stays local: a task in a circle, or with a dependency that does not exist, cannot be ordered, nor can
what depends on it; everything else can. Problems are values in the result, not exceptions that end the search.

Source: R. Tarjan, "Depth-first search and linear graph algorithms", 1972.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

PROBLEM_LIMIT = 10  # reasons kept; a circle's path can be as long as the graph, and a graph can have very many circles


@dataclass(frozen=True, slots=True)
class Cycle:
    """Tasks that wait for each other; the first is repeated at the end: A, B, A."""

    path: list[str]


@dataclass(frozen=True, slots=True)
class Missing:
    """A dependency that does not exist, and the task that names it."""

    task: str
    required_by: str


@dataclass(slots=True)
class Resolution:
    """What could be ordered, what could not, and the first few reasons in the order they were found."""

    order: list[str] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    problems: list[Cycle | Missing] = field(default_factory=list)


def resolve(roots: Iterable[str], dependencies_of: Callable[[str], Iterable[str] | None]) -> Resolution:
    """
    Order *roots* and all they depend on, dependencies first: O(tasks + dependencies).

    Args:
        dependencies_of: the dependencies of a task, or `None` if there is no such task. Roots must exist.
    """
    result = Resolution()
    finished: dict[str, bool] = {}  # black: True if it could be ordered
    for root in roots:
        if root not in finished:
            _visit(root, dependencies_of, finished, result)
    return result


def _visit(
    root: str,
    dependencies_of: Callable[[str], Iterable[str] | None],
    finished: dict[str, bool],
    result: Resolution,
) -> None:
    stack: list[tuple[str, Iterator[str]]] = []  # each task with the dependencies it still has to look at
    grey: set[str] = set()  # the tasks on the stack: asking a list would be O(N)
    broken: set[str] = set()

    def enter(task: str, required_by: str) -> bool:
        dependencies = dependencies_of(task)
        if dependencies is None:
            if len(result.problems) < PROBLEM_LIMIT:
                result.problems.append(Missing(task, required_by))
            return False
        stack.append((task, iter(dependencies)))
        grey.add(task)
        return True

    enter(root, root)
    while stack:
        task, remaining = stack[-1]
        dependency = next(remaining, None)
        if dependency is None:  # all of them are done, so this task may come next
            stack.pop()
            grey.remove(task)
            finished[task] = task not in broken
            (result.order if finished[task] else result.unresolved).append(task)
            if task in broken and stack:
                broken.add(stack[-1][0])  # who waits for a broken task is broken
        elif dependency in grey:
            if len(result.problems) < PROBLEM_LIMIT:
                path = [on_path for on_path, _ in stack]
                result.problems.append(Cycle([*path[path.index(dependency) :], dependency]))
            broken.add(task)
        elif dependency in finished:
            if not finished[dependency]:
                broken.add(task)
        elif not enter(dependency, task):
            broken.add(task)
