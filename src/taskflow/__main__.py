"""`python -m taskflow` is the `taskflow` command."""

from taskflow.kernel.interrupts import loading


def main() -> None:
    """Load the command line, which takes a moment, and run it."""
    with loading():
        from taskflow.apps.cli import main as run

        run()


if __name__ == "__main__":
    main()
