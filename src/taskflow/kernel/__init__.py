"""What every layer may use: ids, clock, backoff, errors, JSON values, times of schedules. No layer of ours below it."""
