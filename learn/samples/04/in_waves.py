"""The standard library's sorter says more than an order: it says what may run at the same time."""

from graphlib import CycleError, TopologicalSorter

sorter = TopologicalSorter({"test": ["build", "data"], "build": ["write"], "data": ["write"], "deploy": ["test"]})
sorter.prepare()
while sorter.is_active():
    ready = sorter.get_ready()  # all that wait for nobody now
    print("at the same time:", *sorted(ready))
    sorter.done(*ready)

try:
    TopologicalSorter({"a": ["b"], "b": ["a"]}).prepare()
except CycleError as error:
    print("circle:", error.args[1])
