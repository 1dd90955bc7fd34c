"""A leak that does not look like a list of data: something long-lived refers to something large."""

import weakref
from collections.abc import Callable


class Upload:
    def __init__(self) -> None:
        self.data = bytes(1_000_000)  # bytes


listeners: list[Callable[[], int]] = []  # lives as long as the process


def receive(*, carefully: bool) -> weakref.ref[Upload]:
    upload = Upload()
    size = len(upload.data)
    listeners.append((lambda: size) if carefully else (lambda: len(upload.data)))
    return weakref.ref(upload)  # looks at the upload without keeping it


for carefully in (False, True):
    ghost = receive(carefully=carefully)
    print("carefully:", carefully, "- is the upload still in memory?", ghost() is not None)
