"""A dictionary from nothing: compute where a key must be, and look only there."""

BUCKETS = 8


def bucket_of(key: str) -> int:
    return sum(key.encode()) % BUCKETS  # a hash function: the same key always gives the same number, 0 to 7


class Table:
    def __init__(self) -> None:
        self.buckets: list[list[tuple[str, str]]] = [[] for _ in range(BUCKETS)]

    def put(self, key: str, value: str) -> None:
        bucket = self.buckets[bucket_of(key)]
        bucket[:] = [pair for pair in bucket if pair[0] != key] + [(key, value)]

    def get(self, key: str) -> str | None:
        return next((value for known, value in self.buckets[bucket_of(key)] if known == key), None)


table = Table()
for word in ("ant", "bee", "cat", "tan", "dog"):
    table.put(word, word.upper())
print(table.get("cat"), table.get("cow"), [len(bucket) for bucket in table.buckets])
