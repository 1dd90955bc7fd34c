"""Places for what takes long in one process: there are so many, and one namespace gets half of them at most."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from taskflow.kernel.errors import Unavailable


class Places:
    """
    Counts who is there.

    Args:
        what: of refusals, such as "uploads are under way".
        code: of refusals.
        retry_after_s: when a refused caller may come again.
    """

    def __init__(self, what: str, *, retry_after_s: float, code: str | None = None) -> None:
        self._what = what
        self._code = code
        self._retry_after_s = retry_after_s
        self._taken: Counter[UUID] = Counter()

    def check(self, namespace: UUID, limit: int) -> None:
        """Raise Unavailable if all *limit* places are taken, or the half of them that *namespace* may have."""
        share = (limit + 1) // 2
        if self._taken.total() >= limit:
            self._refuse(f"{limit} {self._what}, the limit of one process")
        if self._taken[namespace] >= share:
            self._refuse(f"{share} {self._what} for this namespace, the half of one process' places that it may have")

    @contextmanager
    def hold(self, namespace: UUID) -> Iterator[None]:
        """Have a place until the end of the block; `check` first, with nothing awaited between."""
        self._taken[namespace] += 1
        try:
            yield
        finally:
            self._taken[namespace] -= 1
            if not self._taken[namespace]:
                del self._taken[namespace]

    def _refuse(self, detail: str) -> None:
        raise Unavailable(detail, code=self._code, retry_after_s=self._retry_after_s)
