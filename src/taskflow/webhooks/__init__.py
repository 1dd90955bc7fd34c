"""Telling others what became of their jobs: deliveries, how they are signed, and how they look."""
