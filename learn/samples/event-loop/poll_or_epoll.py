"""A thousand quiet connections and a single one that speaks: what does it cost to find that one?"""

import selectors
import socket
from time import perf_counter


def microseconds(selector: selectors.BaseSelector, count: int) -> float:
    pairs = [socket.socketpair() for _ in range(count)]
    for ours, _ in pairs:
        selector.register(ours, selectors.EVENT_READ)
    pairs[-1][1].sendall(b"!")  # never read, so it stays ready
    started = perf_counter()
    for _ in range(200):
        assert len(selector.select()) == 1
    duration_s = perf_counter() - started
    selector.close(), [end.close() for pair in pairs for end in pair]
    return duration_s / 200 * 1e6


for count in (10, 100, 400):
    asking, told = (microseconds(kind(), count) for kind in (selectors.PollSelector, selectors.DefaultSelector))
    print(f"{count:4} connections: poll {asking:6.1f} us, {selectors.DefaultSelector.__name__} {told:6.1f} us")
