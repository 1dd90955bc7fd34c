"""Fixtures of the API."""

from tests.support.api import api, brief_keys, client

__all__ = ["api", "brief_keys", "client"]
