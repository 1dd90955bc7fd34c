"""Measures TaskFlow and other queues in one run on one machine: `make bench-peers`. See `../method.md`."""
