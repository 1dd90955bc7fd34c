"""Fixtures of the API."""

from tests.support.api import api, client

__all__ = ["api", "client"]
