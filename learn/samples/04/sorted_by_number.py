"""A rule that sounds right: who waits for the fewest others goes first."""

waits_for = {
    "deploy": ["test"],
    "test": ["build", "write", "data"],
    "build": ["write"],
    "data": ["build", "write"],
    "write": [],
}

order = sorted(waits_for, key=lambda task: len(waits_for[task]))
print(order)
for position, task in enumerate(order):
    for other in waits_for[task]:
        if other not in order[:position]:
            print(f"wrong: {task} runs before {other}, for which it waits")
