"""`python -m taskflow_learn` starts the server; `check` looks at the exercises."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments == ["serve"]:
        from taskflow_learn.serve import serve  # here and not above: a command loads only what it needs

        return serve()
    if arguments[0] == "check":
        from taskflow_learn.check import main as check

        return check(arguments[1:])
    print(f"unknown command {arguments[0]!r}; usage: python -m taskflow_learn [serve | check [guide]]", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
