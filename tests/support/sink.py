"""What handlers say, kept for a test to look at."""

from taskflow.engine.job import NewLogLine


class Notes:
    """A `Sink` that remembers."""

    def __init__(self) -> None:
        self.lines: list[NewLogLine] = []

    def write_line(self, line: NewLogLine) -> None:
        self.lines.append(line)
