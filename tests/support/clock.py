"""A clock that tests move: what the engine's statements use instead of the database's now."""

from datetime import UTC, datetime, timedelta


class FakeClock:
    """Call it for the present instant; `advance` moves it. It starts at the real time, so daily partitions exist."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, *, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
