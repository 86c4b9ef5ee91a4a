"""Built-in checks: one file, one kind."""
