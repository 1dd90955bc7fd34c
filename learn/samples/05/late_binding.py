"""A trap: a function made in a loop does not remember a value, it remembers a name."""

careless = [lambda: link for link in ("auth", "permission", "validation")]  # noqa: B023 - the trap
print([function() for function in careless])  # each looks up `link` when it is called, after the loop


def bind(link: str):
    return lambda: link  # this `link` belongs to one call of bind, and nobody changes it


print([bind(link)() for link in ("auth", "permission", "validation")])
