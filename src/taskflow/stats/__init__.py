"""The statistics of the API."""
