"""What handlers say, kept for a test to look at."""

from taskflow.engine.job import NewLogLine, NewProgress


class Notes:
    """A `Sink` that remembers."""

    def __init__(self) -> None:
        self.lines: list[NewLogLine] = []
        self.progress: list[NewProgress] = []

    def write_line(self, line: NewLogLine) -> None:
        self.lines.append(line)

    def write_progress(self, report: NewProgress) -> None:
        self.progress.append(report)
