"""Fixtures of the API."""

from tests.engine.conftest import database_url
from tests.support.api import api, client

__all__ = ["api", "client", "database_url"]
