"""What happened in a run, and whether it was allowed: `events` are recorded, `checker` judges them."""
