"""Which function answers which path. Every module has one `register`, which is the table of its routes."""
