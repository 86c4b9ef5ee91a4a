"""The real daemon against an AWS of our own, and what must be true whatever happens to either."""
