"""What every layer may use: ids, clock, backoff, errors, JSON values. Standard library only."""
