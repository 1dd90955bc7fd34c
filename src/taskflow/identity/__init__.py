"""Who may do what: principals, permissions, API keys."""
