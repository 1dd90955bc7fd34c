"""When all keys have the same hash, every lookup walks past all the others: a dict as slow as a list."""

from time import perf_counter


class Key:
    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.number == other.number

    def __hash__(self) -> int:
        return 1  # legal, and terrible


for size in (100, 200, 400, 800):
    started = perf_counter()
    table = {Key(number): number for number in range(size)}
    print(f"{size:5} keys: {(perf_counter() - started) * 1e3:7.2f} ms")  # twice the keys, four times as long
