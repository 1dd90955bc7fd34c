"""A generator does nothing until somebody asks, and then one step."""

from collections.abc import Iterator


def tasks() -> Iterator[int]:
    for number in (1, 2, 3):
        print(f"  task {number} is read")
        yield number


def lines(numbers: Iterator[int]) -> Iterator[str]:
    for number in numbers:
        yield f"line of task {number}"


stream = lines(tasks())
print("nothing has happened yet")
print(next(stream))
print(next(stream))
print("task 3 will never be read: nobody asks")
