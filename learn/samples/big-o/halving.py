"""Guess a number: every answer halves what is left. Count the guesses."""


def guesses(secret: int, high: int) -> int:
    low, count = 1, 0
    while True:
        count += 1
        middle = (low + high) // 2
        if middle == secret:
            return count
        if middle < secret:
            low = middle + 1
        else:
            high = middle - 1


for high in (10, 1_000, 1_000_000, 1_000_000_000):
    print(f"from 1 to {high:>13,}: at most {max(guesses(1, high), guesses(high, high))} guesses")
