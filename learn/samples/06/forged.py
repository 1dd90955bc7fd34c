"""A log line is made of what strangers send. One of them sends a line break."""

import json

user_agent = "curl/8\n[2026-01-31T09:30:00.000Z] [INFO] Admin logged in"


def careless(message: str, agent: str) -> str:
    return f"[2026-01-31T09:29:59.000Z] [INFO] {message} {agent}"


def structured(message: str, **fields: object) -> str:
    return f"[2026-01-31T09:29:59.000Z] [INFO] {message} {json.dumps(fields)}"  # \n becomes \\n


for line in (careless("Request received", user_agent), structured("Request received", userAgent=user_agent)):
    print(len(line.splitlines()), "line(s) in the log:")
    print(line)
