"""Providers: one cloud each, behind the `Cloud` port. They know nothing of each other."""
