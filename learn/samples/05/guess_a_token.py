"""A comparison that stops at the first difference tells how much was right. That is enough to find a secret."""

import hmac
import string

SECRET = "k3yz9"
guesses = 0


def equal(guess: str) -> tuple[bool, int]:
    """Return whether it is right, and how many steps the comparison took: an attacker measures that as time."""
    global guesses
    guesses += 1
    for step, (one, other) in enumerate(zip(guess, SECRET, strict=True)):
        if one != other:
            return False, step
    return True, len(SECRET)


known = ""
while len(known) < len(SECRET):
    candidates = [known + letter for letter in string.ascii_lowercase + string.digits]
    known = max(candidates, key=lambda candidate: equal(candidate.ljust(len(SECRET), "-"))[1])
print(known, "found after", guesses, "guesses, of", 36**5)
print("compare_digest takes as long wherever the difference is:", hmac.compare_digest("k3yzX", SECRET))
