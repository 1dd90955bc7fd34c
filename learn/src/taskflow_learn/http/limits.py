"""How much, and how long: everything a peer could otherwise use up."""

from dataclasses import dataclass

from taskflow_learn.config import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection."""

    head_bytes: int = 16_384
    target_bytes: int = 8_192
    header_count: int = 100
    body_bytes: int = 1_048_576
    head_timeout_s: float = 10.0  # from the first byte of a request to the end of its head, however slowly it drips
    body_timeout_s: float = 30.0
    keep_alive_timeout_s: float = 75.0  # between requests
    send_timeout_s: float = 30.0  # for a peer that does not read
    linger_s: float = 1.0  # how long we listen on after refusing, so that the answer is not lost

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        return cls(
            body_bytes=settings.body_limit_bytes,
            head_timeout_s=settings.head_timeout_ms / 1000,
            body_timeout_s=settings.body_timeout_ms / 1000,
            keep_alive_timeout_s=settings.keep_alive_timeout_ms / 1000,
            send_timeout_s=settings.send_timeout_ms / 1000,
        )
