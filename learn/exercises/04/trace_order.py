"""
Trace the resolver with a pencil.

    WAITS_FOR = {
        "deploy": ["test", "notes"],
        "test":   ["build"],
        "notes":  ["write"],
        "build":  ["write", "tools"],
        "write":  [],
        "tools":  [],
        "party":  ["deploy"],
    }

Fill in the answers. There are several right orders; any of them will do.
"""

# All seven tasks, each after everything that it waits for.
ORDER: list[str] = []

# The tasks that can start at once, because they wait for nobody.
CAN_START: set[str] = set()

# The order in which the resolver of this guide (`recursive.py`) finishes the tasks, if it begins with "deploy" and
# goes through WAITS_FOR from top to bottom. Here only one answer is right.
RESOLVER_ORDER: list[str] = []

# Somebody makes "tools" wait for "test". Which circle does that close? Begin and end with "tools".
CIRCLE: list[str] = []

# Which tasks can still be done then, although there is a circle? All that wait neither for it nor are in it.
STILL_POSSIBLE: set[str] = set()
