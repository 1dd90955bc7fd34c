"""UUIDs: as text, and the ends of their order."""

from uuid import UUID

MIN_ID = UUID(int=0)
MAX_ID = UUID(int=(1 << 128) - 1)


def find_id(text: str) -> UUID | None:
    """Return the UUID that *text* is in its usual form of 36 characters; None if it is none."""
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None
