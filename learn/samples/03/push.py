"""Push: put it at the end, then let it rise while it is greater than its parent."""


def push(heap: list[int], value: int) -> None:
    heap.append(value)
    index = len(heap) - 1
    print(f"push {value}:", heap)
    while index > 0 and heap[(parent := (index - 1) // 2)] < heap[index]:
        heap[parent], heap[index] = heap[index], heap[parent]
        index = parent
        print(f"  rises to [{index}]", heap)


heap = [9, 7, 8, 3, 6, 5, 1]
push(heap, 2)  # stays where it is: 0 swaps
push(heap, 10)  # rises to the root: 3 swaps, one per level
