"""One file per peer, run in the peer's own environment; `harness` holds what they share."""
