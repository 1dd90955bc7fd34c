"""Pop: the last one takes the place of the root, then sinks below the greater of its children."""


def pop(heap: list[int]) -> int:
    heap[0], heap[-1] = heap[-1], heap[0]
    top, index = heap.pop(), 0
    print(f"pop {top}:", heap)
    while children := [child for child in (2 * index + 1, 2 * index + 2) if child < len(heap)]:
        best = max(children, key=heap.__getitem__)
        if heap[best] <= heap[index]:
            break
        heap[best], heap[index] = heap[index], heap[best]
        index = best
        print(f"  sinks to [{index}]", heap)
    return top


heap = [9, 7, 8, 3, 6, 5, 1, 2]
print([pop(heap) for _ in range(3)])
