"""
Build a dictionary that grows.

The table of the guide has eight buckets for ever. With a thousand keys in it, every lookup walks over more than a
hundred of them. Make it grow: when there would be more keys than buckets, take twice as many buckets and put every key
where it belongs now (its bucket number has changed!).

Use Python's `hash(key)`, and `%` to make a bucket number of it.
"""


class HashTable:
    def __init__(self) -> None:
        self.buckets: list[list[tuple[str, object]]] = [[] for _ in range(8)]

    def put(self, key: str, value: object) -> None:
        """Store *value* under *key*, in place of what was there."""
        self._bucket_of(key).append((key, value))

    def get(self, key: str) -> object:
        """Return the value of *key*. Raise KeyError if there is none."""
        return dict(self._bucket_of(key))[key]

    def remove(self, key: str) -> None:
        """Take *key* out. Raise KeyError if it is not there."""
        raise NotImplementedError("rebuild the bucket without the key")

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self.buckets)

    def _bucket_of(self, key: str) -> list[tuple[str, object]]:
        return self.buckets[hash(key) % len(self.buckets)]
