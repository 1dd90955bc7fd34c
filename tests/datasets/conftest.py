"""What the tests of datasets share."""

from tests.support.api import api, client

__all__ = ["api", "client"]
