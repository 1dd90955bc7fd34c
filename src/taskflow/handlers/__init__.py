"""Handlers of the built-in kinds."""
