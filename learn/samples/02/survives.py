"""The same store in a file: slower to write, but still there after the power went."""

import sqlite3
import tempfile
from pathlib import Path
from time import perf_counter

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "tasks.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE task (id INTEGER PRIMARY KEY, title TEXT NOT NULL)")
    for name, batch in (("one by one", 1), ("all at once", 20)):
        started = perf_counter()
        for _ in range(20 // batch):
            with connection:  # a transaction: all of it or nothing, on the disk when it ends
                connection.executemany("INSERT INTO task (title) VALUES (?)", [("write",)] * batch)
        print(f"{name:12} {(perf_counter() - started) / 20 * 1e6:7.0f} us per task")  # microseconds
    connection.close()  # the program ends here ...
    connection = sqlite3.connect(path)  # ... and another one starts
    print(connection.execute("SELECT count(*) FROM task").fetchone()[0], "tasks are still there")
    connection.close()
