"""
Where handlers run: on the worker's event loop, in one of its threads, or alone in a child process.

`base.Isolator` is what the executor knows of all three: call a handler, ask it to end, make it end. What the call came
to is a value (`ending`), the same whether it crossed a process boundary or not. They pass one conformance suite.

    executor ──> base.Isolator ─┬─ loop      the handler is a coroutine of its attempt's own task
                                ├─ thread    a pool of threads
                                └─ process   a pool of children (`parent`), each running `child.serve`
                                                └── channel: length-prefixed messages over a socket pair
"""
