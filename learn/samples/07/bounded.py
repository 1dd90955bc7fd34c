"""Two ways to forget: the oldest of a history, and what was used longest ago of a cache."""

from collections import OrderedDict, deque

history: deque[str] = deque(maxlen=3)
for path in ("/a", "/b", "/c", "/d", "/e"):
    history.append(path)  # a full deque drops its oldest entry by itself
print([*history])

LIMIT = 3
cache: OrderedDict[str, str] = OrderedDict()


def look_up(key: str) -> str:
    if key not in cache:
        cache[key] = f"page of {key}"  # expensive
    cache.move_to_end(key)  # used just now, so thrown out last
    if len(cache) > LIMIT:
        cache.popitem(last=False)
    return cache[key]


for key in ("a", "b", "c", "a", "d"):
    look_up(key)
print([*cache])  # b has gone: a was used again after it
