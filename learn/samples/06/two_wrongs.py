"""Two ways to handle an error that both feel right at two in the morning."""

import traceback
from collections.abc import Callable

task = {"priority": "high"}  # somebody stored a word where a number belongs


def run(on_error: Callable[[], str]) -> str:
    try:
        task["priority"] += 1
    except Exception:
        return on_error()
    return "200 OK"


print(run(lambda: "200 OK"), "but the priority is", task["priority"])  # "nothing may ever go wrong here"
print(run(lambda: "500 " + traceback.format_exc()))  # "then they can tell us what it was"
