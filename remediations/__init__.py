"""Built-in remediations: one file, one kind."""
