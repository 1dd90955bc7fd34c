"""Trace the resolver with a pencil."""

ORDER: list[str] = ["write", "tools", "build", "test", "notes", "deploy", "party"]
CAN_START: set[str] = {"write", "tools"}
RESOLVER_ORDER: list[str] = ["write", "tools", "build", "test", "notes", "deploy", "party"]
CIRCLE: list[str] = ["tools", "test", "build", "tools"]
STILL_POSSIBLE: set[str] = {"write", "notes"}
