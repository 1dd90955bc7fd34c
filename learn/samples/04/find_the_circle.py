"""A task that is still on the path from the root to here cannot be done before us: a circle, and the path proves it."""


def find_circle(waits_for: dict[str, list[str]]) -> list[str] | None:
    grey, black = set[str](), set[str]()  # on the path, finished; white is what nobody has seen yet
    for root in waits_for:
        path = [] if root in black else [(root, iter(waits_for[root]))]
        while path:
            task, others = path[-1]
            grey.add(task)
            other = next(others, None)
            if other is None:
                path.pop()
                grey.remove(task)
                black.add(task)
            elif other in grey:
                names = [name for name, _ in path]
                return [*names[names.index(other) :], other]
            elif other not in black:
                path.append((other, iter(waits_for[other])))
    return None


print(find_circle({"a": ["b", "c"], "b": ["c"], "c": []}))
print(find_circle({"a": ["b"], "b": ["c"], "c": ["d", "b"], "d": []}))
