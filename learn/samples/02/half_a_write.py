"""Two structures that must agree, and a write that fails in the middle."""

tasks = {"a": "write", "b": "test"}
waits_for = {"b": ["a"]}


def add_carelessly(task_id: str, dependencies: list[str]) -> None:
    tasks[task_id] = "new"  # the first structure is changed ...
    for dependency in dependencies:
        if dependency not in tasks:
            raise ValueError(f"{dependency} does not exist")  # ... and the second never will be
    waits_for[task_id] = dependencies


def add(task_id: str, dependencies: list[str]) -> None:
    if missing := [name for name in dependencies if name not in tasks]:  # whatever can be refused is refused first
        raise ValueError(f"{missing[0]} does not exist")
    tasks[task_id], waits_for[task_id] = "new", dependencies  # from here on nothing can fail


for function, name in ((add_carelessly, "c"), (add, "d")):
    try:
        function(name, ["a", "nobody"])
    except ValueError as error:
        print(f"{function.__name__}: refused, {error}; is {name} in the store? {name in tasks}")
