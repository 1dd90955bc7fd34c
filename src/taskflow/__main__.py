"""`python -m taskflow` is the `taskflow` command."""

from taskflow.apps.cli import main

if __name__ == "__main__":
    main()
