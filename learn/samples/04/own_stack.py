"""The same search with a list in place of the call stack. It goes as deep as there is memory."""


def order_of(waits_for: dict[int, list[int]]) -> list[int]:
    order: list[int] = []
    seen: set[int] = set()
    for root in waits_for:
        stack = [] if root in seen else [(root, iter(waits_for[root]))]
        seen.add(root)
        while stack:
            task, others = stack[-1]
            other = next(others, None)  # where we were when we last looked at this task
            if other is None:
                order.append(task)  # all that it waits for is done
                stack.pop()
            elif other not in seen:
                seen.add(other)
                stack.append((other, iter(waits_for[other])))
    return order


chain = {number: [number - 1] if number else [] for number in reversed(range(100_000))}
order = order_of(chain)
print(order[:3], "...", order[-1])
