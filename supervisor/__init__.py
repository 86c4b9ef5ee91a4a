"""Sickbay: a self-healing fleet supervisor."""

__version__ = "0.1.0"
