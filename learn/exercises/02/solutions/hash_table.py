"""A dictionary that grows."""


class HashTable:
    def __init__(self) -> None:
        self.buckets: list[list[tuple[str, object]]] = [[] for _ in range(8)]
        self._length = 0

    def put(self, key: str, value: object) -> None:
        """Store *value* under *key*, in place of what was there."""
        bucket = self._bucket_of(key)
        for index, (known, _) in enumerate(bucket):
            if known == key:
                bucket[index] = (key, value)
                return
        bucket.append((key, value))
        self._length += 1
        if self._length > len(self.buckets):
            self._grow()

    def get(self, key: str) -> object:
        """Return the value of *key*. Raise KeyError if there is none."""
        for known, value in self._bucket_of(key):
            if known == key:
                return value
        raise KeyError(key)

    def remove(self, key: str) -> None:
        """Take *key* out. Raise KeyError if it is not there."""
        self._bucket_of(key).remove((key, self.get(key)))
        self._length -= 1

    def __len__(self) -> int:
        return self._length

    def _bucket_of(self, key: str) -> list[tuple[str, object]]:
        return self.buckets[hash(key) % len(self.buckets)]

    def _grow(self) -> None:
        pairs = [pair for bucket in self.buckets for pair in bucket]
        self.buckets = [[] for _ in range(2 * len(self.buckets))]
        for pair in pairs:
            self._bucket_of(pair[0]).append(pair)
