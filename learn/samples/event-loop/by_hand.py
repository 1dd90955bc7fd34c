"""What `await` does: it stops, and hands out what it waits for. Somebody outside decides when it goes on."""

from collections.abc import Generator


class Event:
    def __init__(self, name: str) -> None:
        self.name = name

    def __await__(self) -> Generator["Event", str, str]:
        return (yield self)  # out to whoever drives us; what they send is the result


async def handler() -> str:
    return await Event("a request") + " with " + await Event("a token")


coroutine = handler()  # nothing has run yet
print("it waits for", coroutine.send(None).name)
print("it waits for", coroutine.send("GET /tasks").name)
try:
    coroutine.send("secret")
except StopIteration as done:
    print("it has ended:", done.value)
