"""Ask again and again whether something has changed: nearly always in vain, and late when it was not."""

import random

rng = random.Random(1)
events_s = sorted(rng.uniform(0, 3_600) for _ in range(20))  # twenty changes in an hour

for every_s in (60, 10, 1):
    asked = found = 0
    delays_s, waiting = [], [*events_s]
    for now_s in range(every_s, 3_600 + every_s, every_s):
        asked += 1
        fresh = [at_s for at_s in waiting if at_s <= now_s]
        found += bool(fresh)
        delays_s += [now_s - at_s for at_s in fresh]
        waiting = waiting[len(fresh) :]
    print(
        f"every {every_s:2} s: {asked:4} requests, {asked - found:4} of them in vain; "
        f"news is {sum(delays_s) / len(delays_s):4.1f} s old"
    )
