"""What the tests of callbacks share."""

from tests.support.api import api, client

__all__ = ["api", "client"]
