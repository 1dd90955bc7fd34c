"""The connection breaks in the middle. What has the reader got?"""

import json

tasks = [{"id": number, "title": f"task {number}"} for number in range(1, 5)]
array = json.dumps(tasks)
lines = "".join(json.dumps(task) + "\n" for task in tasks)  # NDJSON: one document per line

for name, text in (("JSON array", array), ("NDJSON", lines)):
    received = text[: len(text) * 3 // 5]  # then the line went dead
    try:
        found = (
            json.loads(received) if name == "JSON array" else [json.loads(line) for line in received.split("\n")[:-1]]
        )
    except ValueError as error:
        print(f"{name:10} nothing: {error}")
    else:
        print(f"{name:10} {len(found)} tasks, and we know where to go on")
