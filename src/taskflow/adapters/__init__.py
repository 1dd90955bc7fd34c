"""Systems outside, each behind a small protocol."""
