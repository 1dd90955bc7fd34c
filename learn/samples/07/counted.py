"""CPython frees an object when the last reference to it goes. One forgotten reference is enough to keep it."""

import sys


class Task:
    def __del__(self) -> None:
        print("  freed")


task = Task()
print("references:", sys.getrefcount(task) - 1)  # - 1: the argument of getrefcount is one more
history = [task]
print("references:", sys.getrefcount(task) - 1)
del task
print("the name is gone, the list still has it")
history.clear()
print("now nobody has it")
