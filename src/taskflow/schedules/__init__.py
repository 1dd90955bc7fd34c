"""The schedules of the API: jobs that are submitted again and again, at times that a rule gives."""
