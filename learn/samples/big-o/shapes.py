"""How five kinds of work grow. No clock, only counting."""

from math import log2

shapes = {
    "O(1)": lambda n: 1,
    "O(log N)": lambda n: log2(n),
    "O(N)": lambda n: n,
    "O(N log N)": lambda n: n * log2(n),
    "O(N^2)": lambda n: n * n,
}
sizes = (10, 1_000, 100_000, 1_000_000)
print("N =        ", *(f"{n:>17,}" for n in sizes))
for name, steps in shapes.items():
    print(f"{name:11}", *(f"{steps(n):>17,.0f}" for n in sizes))
print("At a million steps a second, N^2 of a million takes", round(1e12 / 1e6 / 86_400, 1), "days")
