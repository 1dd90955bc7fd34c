"""The same two links in two orders, and a stranger who sends a megabyte."""

received = 0


def authentication(token: str) -> None:
    if token != "secret":
        raise ValueError("401 who are you?")


def validation(_: str) -> None:
    global received
    received = 1_000_000  # bytes: of bandwidth, of memory, of time to parse them
    raise ValueError("422 there is no field 'prioritty'; fields are title, priority")


for links in ((validation, authentication), (authentication, validation)):
    received = 0
    try:
        for link in links:
            link("wrong")
    except ValueError as error:
        print(" then ".join(link.__name__ for link in links), "|", received, "bytes read |", error)
