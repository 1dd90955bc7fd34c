"""
A deployment under load, while everything that it stands on fails: `python -m tests.faults --seed 7 --seconds 180`.

    plan      what is broken when, drawn from a seed
    cluster   the processes, PostgreSQL on a small disk, a proxy before it
    nemesis   breaks and heals them by the plan
    clients   submit, and note what they were told        shop   the application whose handlers run
    run       all of it together, then `tests.history.checker`
"""
