"""Time, in the one shape the API uses: ISO 8601, UTC, milliseconds, Z."""

from datetime import UTC, datetime


def timestamp() -> str:
    """Return the present instant, such as `2026-01-31T09:30:00.125Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
