"""What every layer may use: errors, JSON values, backoff, times of schedules and more. No layer of ours below it."""
