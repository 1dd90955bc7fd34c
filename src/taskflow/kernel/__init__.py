"""What every layer may use: ids, clock, backoff, errors, JSON values. The standard library, and cronsim for what a cron expression means."""
