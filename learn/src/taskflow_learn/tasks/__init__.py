"""What a task is, what may be written into it, and where it is kept."""
