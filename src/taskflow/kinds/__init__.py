"""
The built-in kinds: their names, other names they answer to, and the types of their payloads and results. No code that
runs them, so that anyone may enqueue them.
"""

from collections.abc import Mapping

from taskflow.kinds import email, image, pdf, report, sync

QUEUE = "builtin"
BUILTIN = frozenset({email.NAME, image.NAME, pdf.NAME, report.NAME, sync.NAME})
INTERNAL = frozenset({"bulk_operation", "deliver_webhook"})  # the engine's own: offered by workers, submitted by nobody
ALIASES: Mapping[str, str] = {alias: kind.NAME for kind in (email, report, sync) for alias in kind.ALIASES}
RESERVED = BUILTIN | INTERNAL | frozenset(ALIASES)  # names that nobody else may offer, whether a worker runs or not

__all__ = ["ALIASES", "BUILTIN", "INTERNAL", "QUEUE", "RESERVED", "canonical"]


def canonical(kind: str) -> str:
    """Return the name that *kind* is stored under."""
    return ALIASES.get(kind, kind)
