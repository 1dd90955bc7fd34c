"""
A real-time task queue server built from nothing: the standard library, and code short enough to read in an afternoon.

Read it from the bottom up:

    structures/   a linked list, a stable max-heap, a topological sort: the ideas, without any server
    tasks/        what a task is, what may be written, where it is kept
    http/         HTTP/1.1 from the bytes of a TCP connection
    websocket/    RFC 6455 from the same bytes
    workers/      processes that compute, so that the event loop does not
    routes/       which function answers which path
    app.py        the parts put together; server.py opens the port and closes it again
"""

__version__ = "0.1.0"
