"""Two objects that refer to each other keep each other alive. A collector looks for such circles now and then."""

import gc
import weakref


class Task:
    def __init__(self) -> None:
        self.waits_for: Task | None = None


gc.disable()  # so that we choose the moment
a, b = Task(), Task()
a.waits_for, b.waits_for = b, a
ghost = weakref.ref(a)  # looks at an object without keeping it
del a, b
print("no name is left; still in memory?", ghost() is not None)
print("the collector found", gc.collect(), "objects; still in memory?", ghost() is not None)
