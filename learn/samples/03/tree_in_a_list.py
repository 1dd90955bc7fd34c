"""A binary tree without a single pointer: arithmetic says who is whose child."""

heap = [9, 7, 8, 3, 6, 5, 1, 2]

for index, value in enumerate(heap):
    parent = (index - 1) // 2
    children = [child for child in (2 * index + 1, 2 * index + 2) if child < len(heap)]
    above = f"below {heap[parent]}" if index else "the root"
    print(f"[{index}] {value}: {above}, above {[heap[child] for child in children]}")

is_heap = all(heap[(index - 1) // 2] >= heap[index] for index in range(1, len(heap)))  # the only rule
print("Nobody is greater than their parent:", is_heap, "- sorted:", heap == sorted(heap, reverse=True))
