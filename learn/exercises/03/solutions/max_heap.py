"""A max-heap."""


class MaxHeap:
    def __init__(self) -> None:
        self.values: list[int] = []

    def push(self, value: int) -> None:
        values = self.values
        values.append(value)
        index = len(values) - 1
        while index > 0:
            parent = (index - 1) // 2
            if values[parent] >= values[index]:
                return
            values[parent], values[index] = values[index], values[parent]
            index = parent

    def pop(self) -> int:
        """Return the greatest value and take it out. Raise IndexError if there is none."""
        values = self.values
        last = values.pop()
        if not values:
            return last
        top, values[0] = values[0], last
        index = 0
        while True:
            best = index
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(values) and values[child] > values[best]:
                    best = child
            if best == index:
                return top
            values[best], values[index] = values[index], values[best]
            index = best
