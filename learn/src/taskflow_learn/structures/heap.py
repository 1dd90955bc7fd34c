r"""
A stable max-heap: the most urgent entry first, and among equals the one that came first.

A heap is a binary tree kept in an array. The children of index i stand at 2i+1 and 2i+2, its parent at (i-1)//2:

              [9]                     index   0  1  2  3  4
            /     \                   entry  [9][7][5][3][6]
         [7]       [5]
        /   \                         only one rule: no child is more urgent than its parent
     [3]     [6]

A push or pop repairs one path between root and leaf, so it costs O(log N): 17 steps for 100,000 entries.

Two things a text-book heap lacks, and a queue needs:

- *Stable*: entries compare by (priority, arrival). A plain heap would return equals in any order, and a task could wait
  for ever behind later ones of its own priority.
- *A position index*: key → index in the array. Without it, finding the entry to remove is O(N); with it O(1), for one
  dictionary write per move.

`heapq` of the standard library is a min-heap in C, without an index; tests compare the two.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    """What is in the array. Smaller `rank` is more urgent: `(-priority, arrival)`, compared from left to right."""

    rank: tuple[int, int]
    key: str


class MaxHeap:
    """Keys by priority, highest first. A key is present at most once."""

    __slots__ = ("_entries", "_index")

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._index: dict[str, int] = {}

    def push(self, key: str, priority: int, arrival: int) -> None:
        """Add *key*: O(log N). *arrival* breaks ties, so it must differ between keys. Raise `KeyError` if present."""
        if key in self._index:
            raise KeyError(key)
        self._entries.append(Entry((-priority, arrival), key))
        self._index[key] = len(self._entries) - 1
        self._sift_up(len(self._entries) - 1)

    def peek(self) -> str | None:
        """Return the most urgent key and leave it there: O(1)."""
        return self._entries[0].key if self._entries else None

    def pop(self) -> str | None:
        """Take out the most urgent key: O(log N)."""
        key = self.peek()
        if key is not None:
            self.remove(key)
        return key

    def remove(self, key: str) -> bool:
        """Take out *key* wherever it is: O(1) to find, O(log N) to repair. Return whether it was there."""
        index = self._index.pop(key, None)
        if index is None:
            return False
        last = self._entries.pop()
        if index < len(self._entries):  # the last leaf fills the hole, then finds its place, up or down
            self._entries[index] = last
            self._index[last.key] = index
            self._sift_up(index)
            self._sift_down(self._index[last.key])
        return True

    def keys(self) -> list[str]:
        """Return the keys as they lie in the array: the first is the most urgent, the rest is only heap-ordered."""
        return [entry.key for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._index

    def _sift_up(self, index: int) -> None:
        while index > 0:
            parent = (index - 1) // 2
            if self._entries[parent].rank <= self._entries[index].rank:
                return
            self._swap(index, parent)
            index = parent

    def _sift_down(self, index: int) -> None:
        while True:
            best = index
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(self._entries) and self._entries[child].rank < self._entries[best].rank:
                    best = child
            if best == index:
                return
            self._swap(index, best)
            index = best

    def _swap(self, one: int, two: int) -> None:
        entries = self._entries
        entries[one], entries[two] = entries[two], entries[one]
        self._index[entries[one].key] = one
        self._index[entries[two].key] = two
